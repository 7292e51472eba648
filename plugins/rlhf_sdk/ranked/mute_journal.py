"""The journal of a rank that only follows: it keeps the step, and writes nothing."""

from __future__ import annotations

from rlhf_sdk.events import Event, Sample
from rlhf_sdk.journal import Journal


class MuteJournal(Journal):
    """Rank 0 writes the same."""

    def __init__(self, attempt: int) -> None:
        self.attempt, self.step, self.seq, self.sample_seq = attempt, 0, 0, 0

    def refuse_newer(self) -> None:
        return None

    def event(self, event: Event) -> None:
        return None

    def sample(self, sample: Sample) -> None:
        return None

    def sync(self) -> None:
        return None

    def close(self) -> None:
        return None
