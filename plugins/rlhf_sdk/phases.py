"""Named phases of a step: wall time, and the peak of memory within each, nested ones too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec

from rlhf_sdk.events import PhaseEnded
from rlhf_sdk.trainer import Runtime

PEAKS = ("peak", "rss_peak")
"""Figures that are the highest within a phase; the others are what is left at its end."""


@dataclass
class _Open:
    name: str
    began: float
    peaks: dict[str, int] = field(default_factory=dict)


class Phases:
    """Emits what phases took when the outermost ends; a phase within another is called "outer/inner".

    Phases of one name within the same outermost one (an update's micro-batches, say) are one event: seconds summed, the
    highest peak, and how many they were. A device keeps a single peak, so it is reset wherever a phase begins or
    ends, and what it was until then counts for every phase that is open.

    `broken` is the phase that the newest error came out of, if nothing has succeeded since.
    """

    def __init__(self, runtime: Runtime | None, clock: Callable[[], float], emit: Callable[[PhaseEnded], None]) -> None:
        self._runtime, self._clock, self._emit = runtime, clock, emit
        self._open: list[_Open] = []
        self._ended: dict[str, PhaseEnded] = {}
        self.broken = ""

    @property
    def path(self) -> str:
        """The phase that is open now, with those around it; empty outside."""
        return "/".join(phase.name for phase in self._open)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self._measure()
        self._open.append(_Open(name, self._clock()))
        self.broken = ""
        try:
            yield
            self.broken = ""
        except BaseException:
            self.broken = self.broken or self.path
            raise
        finally:
            self._close()

    def _close(self) -> None:
        memory, path = self._measure(), self.path
        ended = self._open.pop()
        event = PhaseEnded(name=path, seconds=self._clock() - ended.began, memory=memory | ended.peaks)
        self._ended[path] = _together(self._ended[path], event) if path in self._ended else event
        if not self._open:
            for event in self._ended.values():
                self._emit(event)
            self._ended.clear()
            if self._runtime is not None:
                self._runtime.release_cache()

    def _measure(self) -> dict[str, int]:
        if self._runtime is None:
            return {}
        memory = dict(self._runtime.memory())
        for phase in self._open:
            for name in filter(memory.__contains__, PEAKS):
                phase.peaks[name] = max(phase.peaks.get(name, 0), memory[name])
        self._runtime.reset_peak()
        return memory


def _together(first: PhaseEnded, second: PhaseEnded) -> PhaseEnded:
    peaks = {name: max(first.memory[name], second.memory[name]) for name in PEAKS if name in first.memory}
    return msgspec.structs.replace(
        second,
        seconds=first.seconds + second.seconds,
        count=first.count + second.count,
        memory=second.memory | peaks,
    )
