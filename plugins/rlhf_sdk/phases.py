"""Named phases of a step: wall time, and the peak of memory within each, nested ones too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rlhf_sdk.events import PhaseEnded
from rlhf_sdk.trainer import Runtime


@dataclass
class _Open:
    name: str
    began: float
    peak: int = 0


class Phases:
    """Emits one `PhaseEnded` a phase; a phase within another is called "outer/inner".

    A device keeps a single peak, so it is reset wherever a phase begins or ends, and what it was until then counts for
    every phase that is open.
    """

    def __init__(self, runtime: Runtime | None, clock: Callable[[], float], emit: Callable[[PhaseEnded], None]) -> None:
        self._runtime, self._clock, self._emit = runtime, clock, emit
        self._open: list[_Open] = []
        self.broken = ""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self._measure()
        self._open.append(_Open(name, self._clock()))
        try:
            yield
        except BaseException:
            self.broken = self.broken or self._path()
            raise
        finally:
            self._close()

    def _path(self) -> str:
        return "/".join(phase.name for phase in self._open)

    def _close(self) -> None:
        memory, path = self._measure(), self._path()
        ended = self._open.pop()
        if "peak" in memory:
            memory["peak"] = ended.peak
        self._emit(PhaseEnded(name=path, seconds=self._clock() - ended.began, memory=memory))

    def _measure(self) -> dict[str, int]:
        if self._runtime is None:
            return {}
        memory = dict(self._runtime.memory())
        for phase in self._open:
            phase.peak = max(phase.peak, memory.get("peak", 0))
        self._runtime.reset_peak()
        return memory
