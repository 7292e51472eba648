"""Somebody's way through pairs: what is shown next, and what becomes of a vote. The store is all that is remembered."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from rlhf_console.runs.label_pairs import Pair
from rlhf_sdk.preferences import PreferenceStore, Verdict, Vote, new_vote

GAP = 5
"""A pair is shown again after so many other votes at least."""

PACE_VOTES = 20


@dataclass(frozen=True)
class Task:
    """A pair as it is shown: where `turned`, its second response stands left; `repeats`: the vote that it repeats."""

    pair: Pair
    turned: bool
    repeats: Vote | None = None

    @property
    def responses(self) -> tuple[str, str]:
        """Left, right."""
        first, second = self.pair.responses
        return (second, first) if self.turned else (first, second)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a session is made of; it can be handed to another process."""

    root: str
    labeller: str
    pairs: list[Pair]
    repeat_share: float
    seed: int


def open_session(plan: Plan | bytes) -> Labelling:
    """`plan`, or the JSON of one."""
    given = msgspec.json.decode(plan, type=Plan) if isinstance(plan, bytes) else plan
    store = PreferenceStore(Path(given.root))
    return Labelling(store, given.pairs, given.labeller, repeat_share=given.repeat_share, seed=given.seed)


class Labelling:
    """`labeller` goes through `pairs`; those with a vote of theirs are done. `repeat_share` of all votes are repeats.

    Raises `OSError` where the store can't be read or written.
    """

    def __init__(
        self, store: PreferenceStore, pairs: Sequence[Pair], labeller: str, *, repeat_share: float = 0.1, seed: int = 0
    ) -> None:
        self.store, self.labeller = store, labeller
        self._pairs = {pair.key: pair for pair in pairs}
        self._share, self._seed = repeat_share, seed
        self._skipped: set[object] = set()
        self._shown: list[tuple[Task, Vote | None]] = []
        store.refresh()
        self.task = self._next()

    @property
    def votes(self) -> list[Vote]:
        """The labeller's own on these pairs, oldest first."""
        return [vote for vote in self.store.votes if vote.labeller == self.labeller and vote.pair in self._pairs]

    @property
    def total(self) -> int:
        """Votes when all is done, repeats included, those of skipped pairs not."""
        return self._with_repeats(len(self._pairs) - len(self._skipped))

    @property
    def skipped(self) -> int:
        return len(self._skipped)

    def pace(self) -> float | None:
        """Votes a minute, of the newest of this session; None before there are two."""
        times = [vote.time for _, vote in self._shown[-PACE_VOTES:] if vote is not None]
        passed = times[-1] - times[0] if len(times) > 1 else 0.0
        return 60.0 * (len(times) - 1) / passed if passed > 0 else None

    def vote(self, verdict: Verdict, note: str = "") -> Vote | None:
        """Keeps a vote on what is shown, and goes on; None where nothing is shown."""
        task = self.task
        if task is None:
            return None
        vote = self._vote_on(task, verdict, note)
        self.store.append(vote)
        self._go_on(task, vote)
        return vote

    def skip(self) -> None:
        """Sets what is shown aside until the next session."""
        if self.task is not None:
            self._skipped.add(self.task.pair.key)
            self._go_on(self.task, None)

    def undo(self) -> bool:
        """Takes the newest vote or skip back, of an earlier session too; False where there is none."""
        if self._shown:
            task, vote = self._shown.pop()
        else:
            votes = self.votes
            if not votes:
                return False
            vote = votes[-1]
            task = self._task_of(vote)
        if vote is None:
            self._skipped.discard(task.pair.key)
        else:
            self.store.retract(vote)
        self.store.refresh()
        self.task = task
        return True

    def _go_on(self, task: Task, vote: Vote | None) -> None:
        self._shown.append((task, vote))
        self.store.refresh()
        self.task = self._next()

    def _vote_on(self, task: Task, verdict: Verdict, note: str) -> Vote:
        pair, order = task.pair, (1, 0) if task.turned else (0, 1)
        left, right = order
        return new_vote(
            pair.prompt,
            task.responses,
            verdict,
            policies=(pair.policies[left], pair.policies[right]),
            sources=pair.sources and (pair.sources[left], pair.sources[right]),
            figures=(pair.figures[left], pair.figures[right]),
            labeller=self.labeller,
            note=note,
            repeat_of=task.repeats.id if task.repeats else "",
        )

    def _next(self) -> Task | None:
        """A repeat where one is due, else the first pair that has no vote."""
        votes = self.votes
        again = self._repeat(votes)
        if again is not None:
            return Task(self._pairs[again.pair], self._task_of(again).turned is False, again)
        done = {vote.pair for vote in votes} | self._skipped
        left = (pair for key, pair in self._pairs.items() if key not in done)
        return next((Task(pair, self._is_turned(pair)) for pair in left), None)

    def _repeat(self, votes: Sequence[Vote]) -> Vote | None:
        """An earlier vote, drawn at random, whose pair is to be shown again, the other way round."""
        repeats = [vote for vote in votes if vote.repeat_of]
        repeated = {vote.pair for vote in repeats}
        done = len({vote.pair for vote in votes})
        if done + len(repeats) >= self._with_repeats(done):
            return None
        old = [vote for vote in votes[:-GAP] if vote.pair not in repeated | self._skipped and not vote.repeat_of]
        return random.Random(f"{self._seed}/{len(votes)}").choice(old) if old else None

    def _with_repeats(self, pairs: int) -> int:
        """Votes when so many pairs have one, with the repeats that belong to them."""
        return pairs + int(pairs * self._share / (1.0 - self._share) + 1e-9)

    def _task_of(self, vote: Vote) -> Task:
        """As the vote's pair stood."""
        pair = self._pairs[vote.pair]
        repeats = next((other for other in self.votes if other.id == vote.repeat_of), None) if vote.repeat_of else None
        return Task(pair, vote.responses[0] == pair.responses[1], repeats)

    def _is_turned(self, pair: Pair) -> bool:
        """Like a coin for each pair and labeller, and the same whenever it is shown for the first time."""
        return random.Random(f"{self.labeller}/{pair.prompt}/{sorted(pair.responses)}").random() < 0.5
