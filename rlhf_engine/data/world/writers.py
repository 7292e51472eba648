"""Simulated people who summarise posts, from careful to sloppy, and edits of what they wrote."""

import random
from dataclasses import dataclass
from typing import Final

from rlhf_engine.data.world.grammar import CONNECTIVES, fill, skeleton
from rlhf_engine.data.world.parsing import Fact, parse
from rlhf_engine.data.world.posts import Post
from rlhf_engine.data.world.vocabulary import PRONOUNS, SLOTS


@dataclass(frozen=True)
class Habits:
    """How likely a writer is to state each slot, to pick up a distractor, to err on a fact, to copy the title."""

    who: float
    problem: float
    cause: float
    feeling: float
    question: float
    distractor: float
    error: float
    title_copy: float = 0.0


REFERENCE: Final = Habits(
    who=0.97, problem=0.85, cause=0.45, feeling=0.4, question=0.5, distractor=0.25, error=0.08, title_copy=0.1
)
CAREFUL: Final = Habits(who=1.0, problem=1.0, cause=0.9, feeling=0.25, question=0.9, distractor=0.05, error=0.02)
SLOPPY: Final = Habits(who=0.95, problem=0.8, cause=0.5, feeling=0.4, question=0.5, distractor=0.3, error=0.2)


def write_reference(post: Post, rng: random.Random) -> str:
    """A human reference of mixed diligence; one in ten is the title and nothing else."""
    return write(post, REFERENCE, rng)


def write_careful(post: Post, rng: random.Random) -> str:
    """Nearly every fact, nearly always right."""
    return write(post, CAREFUL, rng)


def write_sloppy(post: Post, rng: random.Random) -> str:
    """As much as a reference says, but one fact in five is made up."""
    return write(post, SLOPPY, rng)


def write(post: Post, habits: Habits, rng: random.Random) -> str:
    """A summary of the post as a writer of these habits would give it."""
    if rng.random() < habits.title_copy:
        return post.title
    values = {slot: _recall(post, slot, habits.error, rng) for slot in SLOTS}
    values["distractor"] = rng.choice(post.distractors)
    said = {slot for slot in values if rng.random() < getattr(habits, slot)}
    pronoun = PRONOUNS[values["who"]]
    return fill(skeleton(said, connective=rng.choice(CONNECTIVES), pronoun=pronoun), values)


def ideal_summary(post: Post) -> str:
    """The summary that scores exactly 6.0: who, problem, cause and question, and nothing else."""
    said = {"who", "problem", "cause", "question"}
    return fill(skeleton(said, connective="because", pronoun=PRONOUNS[post.who]), post.slot_values())


def edit_one_fact(summary: str, post: Post, rng: random.Random) -> str:
    """The summary with one fact made wrong, a correct one where there is any.

    A person is replaced by one of the same pronoun, so that grammar does not give the edit away.
    Raises ValueError if the summary states no fact.
    """
    words, fact = summary.split(), _fact_to_edit(summary, post, rng)
    return " ".join([*words[: fact.start], _falsify(fact, post, rng), *words[fact.stop :]])


def _fact_to_edit(summary: str, post: Post, rng: random.Random) -> Fact:
    truth = post.slot_values()
    facts = [fact for fact in parse(summary).facts if fact.slot in truth]
    if not facts:
        raise ValueError(f"no fact to edit in the summary {summary!r}")
    return rng.choice([fact for fact in facts if fact.value == truth[fact.slot]] or facts)


def _falsify(fact: Fact, post: Post, rng: random.Random) -> str:
    others = [value for value in SLOTS[fact.slot] if value not in (fact.value, post.slot_values()[fact.slot])]
    if fact.slot == "who":
        others = [other for other in others if PRONOUNS[other] == PRONOUNS[fact.value]]
    return rng.choice(others)


def _recall(post: Post, slot: str, error: float, rng: random.Random) -> str:
    truth = post.slot_values()[slot]
    if rng.random() >= error:
        return truth
    return rng.choice([value for value in SLOTS[slot] if value != truth])
