"""Judges the memory of each step and says once what a person should know before it runs out. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from rlhf_sdk.events import Alert, PhaseEnded
from rlhf_sdk.memory_forecast import steps_until

GIB, MIB = 1 << 30, 1 << 20
NEAR_LIMIT = 0.9
FRAGMENTED = 0.15
WARM_UP, GROWING = 3, 10
"""Steps that may still grow (optimizer state, caches), and how many in a row then may not."""
LEAST_LEAK = {"device": MIB, "host": 32 * MIB}
"""Growth over those steps that counts: an allocator's figures are exact, resident memory is not."""
SOON = 10
REMEMBERED = 2000
PLACES = ("device", "host")


@dataclass(frozen=True)
class Peak:
    """The highest use in a step, with what others have on the device; `phase` is the innermost that had it."""

    used: int
    limit: int
    phase: str


class MemoryWatch:
    """One for each attempt. `host_limit`: bytes that this process may have before the kernel ends it."""

    def __init__(self, host_limit: int) -> None:
        self._host_limit = host_limit
        self._steps = 0
        self._peaks = {place: deque[float](maxlen=REMEMBERED) for place in PLACES}
        self._idle = {place: deque[int](maxlen=GROWING + 1) for place in PLACES}
        self._told: set[tuple[str, str]] = set()
        self._forecast_at: dict[str, float] = {}

    def observe(self, phases: Iterable[PhaseEnded], idle: Mapping[str, int], *, steps_to_go: int) -> list[Alert]:
        """What there is to say after a step: its phases, and the memory in use when it had ended."""
        ended = list(phases)
        alerts: list[Alert | None] = [self._fragmented(event) for event in ended]
        for place, peak in (("device", device_peak(ended)), ("host", host_peak(ended, self._host_limit))):
            if peak is not None:
                self._peaks[place].append(peak.used)
                alerts += [self._near_limit(place, peak), self._forecast(place, peak, steps_to_go)]
        self._steps += 1
        for place, name in (("device", "allocated"), ("host", "rss")):
            if name in idle and self._steps > WARM_UP:
                self._idle[place].append(idle[name])
                alerts.append(self._leak(place))
        return [alert for alert in alerts if alert is not None]

    def _once(self, code: str, place: str) -> bool:
        new = (code, place) not in self._told
        self._told.add((code, place))
        return new

    def _near_limit(self, place: str, peak: Peak) -> Alert | None:
        if peak.used < NEAR_LIMIT * peak.limit or not self._once("memory_peak", place):
            return None
        return Alert(
            severity="warning",
            code="memory_peak",
            message=f"{_in_words(place)} was used up to {_of(peak)} in {peak.phase}",
            advice=advice_for(peak.phase),
            phase=peak.phase,
            figures={"peak": peak.used, "limit": peak.limit},
        )

    def _forecast(self, place: str, peak: Peak, steps_to_go: int) -> Alert | None:
        """Said when the run would not end before, and again whenever half of the steps that were left have passed."""
        left = steps_until(peak.limit, list(self._peaks[place]))
        if left is None or left > steps_to_go or left > self._forecast_at.get(place, float("inf")) / 2:
            return None
        self._forecast_at[place] = left
        return Alert(
            severity="error" if left <= SOON else "warning",
            code="memory_forecast",
            message=f"at this trend {_in_words(place)} runs out in about {left:.0f} steps; peak now {_of(peak)}",
            advice=advice_for(peak.phase),
            phase=peak.phase,
            figures={"steps_left": left, "peak": peak.used, "limit": peak.limit},
        )

    def _leak(self, place: str) -> Alert | None:
        levels = self._idle[place]
        growth = levels[-1] - levels[0]
        growing = len(levels) > GROWING and all(later > earlier for earlier, later in pairwise(levels))
        if not growing or growth < LEAST_LEAK[place] or not self._once("memory_leak", place):
            return None
        return Alert(
            severity="warning",
            code="memory_leak",
            message=f"{_in_words(place)} between steps grew {GROWING} times in a row, by {growth / MIB:.1f} MiB in all",
            advice="something keeps what a step made (tensors in a list, say, or losses summed up with their graphs); "
            "stop with a checkpoint and resume to go on with fresh memory",
            figures={"bytes_per_step": growth / GROWING, "in_use": levels[-1]},
        )

    def _fragmented(self, event: PhaseEnded) -> Alert | None:
        """Reserved much more than allocated, with the device nearly full: a large tensor may find no room."""
        memory = event.memory
        if not {"reserved", "peak", "limit"} <= memory.keys():
            return None
        reserved, idle = memory["reserved"], memory["reserved"] - memory["peak"]
        if reserved + memory.get("others", 0) < NEAR_LIMIT * memory["limit"] or idle < FRAGMENTED * memory["limit"]:
            return None
        if not self._once("memory_fragmented", "device"):
            return None
        return Alert(
            severity="warning",
            code="memory_fragmented",
            message=f"{_size(idle)} of the device are reserved but unused, even at the peak of {event.name}",
            advice='set release_cache = "between_phases"; leave PYTORCH_ALLOC_CONF at expandable_segments:True',
            phase=event.name,
            figures={"reserved": reserved, "peak": memory["peak"], "limit": memory["limit"]},
        )


def device_peak(phases: Iterable[PhaseEnded]) -> Peak | None:
    """On the device; None where no phase has a peak and a limit."""
    found = [
        Peak(memory["peak"] + memory.get("others", 0), memory["limit"], event.name)
        for event in phases
        if {"peak", "limit"} <= (memory := event.memory).keys()
    ]
    return _highest(found)


def host_peak(phases: Iterable[PhaseEnded], limit: int) -> Peak | None:
    """Resident memory; where the system knows no peak within a phase, what it was at the phase's end."""
    found = [
        Peak(used, limit, event.name)
        for event in phases
        if (used := event.memory.get("rss_peak", event.memory.get("rss"))) is not None
    ]
    return _highest(found)


def advice_for(phase: str) -> str:
    """What to change so that `phase` needs less; fewer rows don't change the result."""
    if phase.startswith("rollout"):
        return "lower rollout_batch_size: the result stays the same"
    if phase.endswith("optimizer"):
        return "fewer rows don't help here: train adapters, or a smaller model; `rlhf plan` shows what each saves"
    return "lower micro_batch_size: the result stays the same within rounding; `rlhf plan` shows what else saves memory"


def _highest(peaks: list[Peak]) -> Peak | None:
    """Of equal ones the innermost: the outer phase has it from there."""
    return max(peaks, key=lambda peak: (peak.used, peak.phase.count("/")), default=None)


def _in_words(place: str) -> str:
    return "memory of the device" if place == "device" else "memory of the process"


def _of(peak: Peak) -> str:
    return f"{_size(peak.used)} of {_size(peak.limit)}"


def _size(count: float) -> str:
    return f"{count / GIB:.2f} GiB" if count >= GIB else f"{count / MIB:.1f} MiB"
