"""The gold standard: the quality of any summary, computed from the facts that its post was made from."""

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from rlhf_engine.data.world.grammar import KNOWN_BIGRAMS, skeleton_bigrams
from rlhf_engine.data.world.parsing import Fact, parse
from rlhf_engine.data.world.posts import Post

COVERAGE_WEIGHTS: Final[dict[str, float]] = {
    "who": 1.0,
    "problem": 2.0,
    "cause": 1.5,
    "question": 1.5,
    "feeling": 0.4,
}
WRONG_FACT_COST: Final = 2.0
DISTRACTOR_COST: Final = 0.75
REPEAT_COST: Final = 0.5
TITLE_COPY_COST: Final = 2.0
TITLE_COPY_FROM: Final = 0.5
EXCESS_WORD_COST: Final = 0.15
FREE_WORDS: Final = 18
UNKNOWN_BIGRAM_COST: Final = 0.5
UNKNOWN_BIGRAM_LIMIT: Final = 8
NO_END_COST: Final = 1.5


@dataclass(frozen=True)
class GoldReport:
    """What a summary was scored on.

    covered: slots stated correctly; wrong: distinct (slot, value) facts that contradict the post; distractors: one
    entry per mention; repeats: facts stated again; title_run: longest run of words shared with the title, as a share
    of the title in [0, 1]; words: length in blank-separated words; unknown_bigrams: neighbouring skeleton words that
    no writer produces; ended: whether the summary came to its end.
    """

    covered: tuple[str, ...]
    wrong: tuple[tuple[str, str], ...]
    distractors: tuple[str, ...]
    repeats: int
    title_run: float
    words: int
    unknown_bigrams: tuple[tuple[str, str], ...]
    ended: bool

    @property
    def score(self) -> float:
        """Coverage minus costs; 6.0 is a summary of the four facts that matter, and nothing else."""
        gain = sum(COVERAGE_WEIGHTS[slot] for slot in self.covered)
        title_copy = self.title_run if self.title_run >= TITLE_COPY_FROM else 0.0
        cost = (
            WRONG_FACT_COST * len(self.wrong)
            + DISTRACTOR_COST * len(self.distractors)
            + REPEAT_COST * self.repeats
            + TITLE_COPY_COST * title_copy
            + EXCESS_WORD_COST * max(0, self.words - FREE_WORDS)
            + UNKNOWN_BIGRAM_COST * min(UNKNOWN_BIGRAM_LIMIT, len(self.unknown_bigrams))
            + NO_END_COST * (not self.ended)
        )
        return gain - cost


def gold_report(post: Post, summary: str, *, ended: bool = True) -> GoldReport:
    """Everything the gold score of a summary is made of; `ended` is False if generation ran out of tokens."""
    read = parse(summary)
    truth = post.slot_values()
    claims = [fact for fact in read.facts if fact.slot != "distractor"]
    stated = dict.fromkeys((fact.slot, fact.value) for fact in claims)
    return GoldReport(
        covered=tuple(slot for slot, value in stated if truth[slot] == value),
        wrong=tuple((slot, value) for slot, value in stated if truth[slot] != value),
        distractors=_distractors(read.facts),
        repeats=len(claims) - len(stated),
        title_run=_title_run(post.title.split(), read.words),
        words=len(read.words),
        unknown_bigrams=tuple(
            bigram for bigram in skeleton_bigrams(read.skeleton, ended=ended) if bigram not in KNOWN_BIGRAMS
        ),
        ended=ended,
    )


def gold_score(post: Post, summary: str, *, ended: bool = True) -> float:
    """The gold score of a summary: 6.0 is ideal, a copied title is -1.0."""
    return gold_report(post, summary, ended=ended).score


def _distractors(facts: tuple[Fact, ...]) -> tuple[str, ...]:
    return tuple(fact.value for fact in facts if fact.slot == "distractor")


def _title_run(title: list[str], words: tuple[str, ...]) -> float:
    run = SequenceMatcher(a=title, b=list(words), autojunk=False).find_longest_match()
    return run.size / len(title)
