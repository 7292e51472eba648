"""Posts of the Tiny TL;DR world: facts are drawn first, then told in long forms among things that do not matter."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rlhf_engine.data.world.grammar import fill
from rlhf_engine.data.world.vocabulary import (
    CAUSES,
    DISTRACTORS,
    PROBLEMS,
    PRONOUNS,
    QUESTIONS,
    SLOTS,
    SUBREDDITS,
    TITLES,
)

TWO_DISTRACTORS_SHARE: Final = 0.5
BYSTANDER_SHARE: Final = 0.4
FEELING_FIRST_SHARE: Final = 0.3

_AGES = (19, 21, 22, 24, 25, 27, 28, 31)
_OPENERS = (
    "i am {age} and new here .",
    "first post here , i am {age} .",
    "throwaway account , i am {age} .",
    "sorry for the length , {age} here .",
)
_STORY_LEADS = ("so", "last week", "yesterday")
_CAUSE_LEADS = ("reason is that", "maybe because", "i think")
_FEELING_LEADS = ("i am so", "this makes me", "now i feel")
_DISTRACTOR_LEADS = ("by the way", "side note")
_BYSTANDERS = ("even my WHO noticed it .", "i told my WHO as well .")
_RECORD_KEYS = ("id", "subreddit", "title", "post", "latents")


@dataclass(frozen=True)
class Post:
    """A post and the facts it was made from; `post` is the body, as in the TL;DR data set."""

    id: str
    subreddit: str
    title: str
    post: str
    who: str
    problem: str
    cause: str
    feeling: str
    question: str
    distractors: tuple[str, ...]

    def facts(self) -> dict[str, str | list[str]]:
        """The latents as JSON-able values: one short form per slot, and the list of distractors."""
        return {**self.slot_values(), "distractors": list(self.distractors)}

    def slot_values(self) -> dict[str, str]:
        """The true value of every slot, in the order of `vocabulary.SLOTS`."""
        return {slot: getattr(self, slot) for slot in SLOTS}

    def to_record(self) -> dict[str, Any]:
        """A JSON-able row with the keys id, subreddit, title, post, latents."""
        return {
            "id": self.id,
            "subreddit": self.subreddit,
            "title": self.title,
            "post": self.post,
            "latents": self.facts(),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Post":
        """The post of a row as `to_record` writes it; other keys are ignored. Raises ValueError on a foreign row."""
        missing = [key for key in _RECORD_KEYS if key not in record]
        if missing:
            raise ValueError(f"row {record.get('id', '?')!r} is not a post of the world: it lacks {', '.join(missing)}")
        latents = record["latents"]
        values = {slot: latents.get(slot) for slot in SLOTS}
        distractors = tuple(latents.get("distractors", ()))
        foreign = {slot: value for slot, value in values.items() if value not in SLOTS[slot]}
        if foreign or not distractors:
            found = foreign or {"distractors": []}
            raise ValueError(f"row {record['id']!r} is not a post of the world: it has the latents {found}")
        texts = {key: record[key] for key in ("id", "subreddit", "title", "post")}
        return cls(**texts, **values, distractors=distractors)


def generate_posts(count: int, *, seed: int, start: int = 0) -> list[Post]:
    """Posts `start` to `start + count - 1` of the stream `seed`; post i depends on (seed, i) alone."""
    return [_generate_post(seed, index) for index in range(start, start + count)]


def _generate_post(seed: int, index: int) -> Post:
    rng = random.Random(f"post/{seed}/{index}")
    facts = {slot: rng.choice(values) for slot, values in SLOTS.items()}
    distractors = tuple(rng.sample(DISTRACTORS, 2 if rng.random() < TWO_DISTRACTORS_SHARE else 1))
    return Post(
        id=f"world-{seed}-{index}",
        subreddit=rng.choice(SUBREDDITS),
        title=fill(rng.choice(TITLES), facts),
        post=_tell(facts, distractors, rng),
        distractors=distractors,
        **facts,
    )


def _tell(facts: dict[str, str], distractors: tuple[str, ...], rng: random.Random) -> str:
    sentences = _middle(facts, rng)
    for aside in _asides(facts["who"], distractors, rng):
        sentences.insert(rng.randint(0, len(sentences)), aside)
    opener = rng.choice(_OPENERS).format(age=rng.choice(_AGES))
    story = f"{rng.choice(_STORY_LEADS)} my {facts['who']} {rng.choice(PROBLEMS[facts['problem']])} ."
    question = f"{rng.choice(QUESTIONS[facts['question']])} ?"
    return " ".join([opener, story, *sentences, question])


def _middle(facts: dict[str, str], rng: random.Random) -> list[str]:
    pronoun = PRONOUNS[facts["who"]]
    cause = f"{rng.choice(_CAUSE_LEADS)} {pronoun} {rng.choice(CAUSES[facts['cause']])} ."
    feeling = f"{rng.choice(_FEELING_LEADS)} {facts['feeling']} ."
    return [feeling, cause] if rng.random() < FEELING_FIRST_SHARE else [cause, feeling]


def _asides(who: str, distractors: tuple[str, ...], rng: random.Random) -> list[str]:
    asides = [f"{rng.choice(_DISTRACTOR_LEADS)} {distractor} ." for distractor in distractors]
    if rng.random() < BYSTANDER_SHARE:
        bystander = rng.choice([other for other in SLOTS["who"] if other != who])
        asides.append(fill(rng.choice(_BYSTANDERS), {"who": bystander}))
    return asides
