"""69: nested, repeated and recursive phases report the peak of memory that was theirs, with synthetic allocations."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rlhf_sdk.events import PhaseEnded
from rlhf_sdk.phases import Phases


@dataclass
class SyntheticDevice:
    """A runtime that counts what it is told, as a device does: one peak since the last reset."""

    level: int = 0
    peak: int = 0
    history: list[int] = field(default_factory=lambda: [0])

    def use(self, amount: int) -> None:
        self.level += amount
        self.peak = max(self.peak, self.level)
        self.history.append(self.level)

    def start(self, seed: int) -> None: ...
    def remember_rng(self) -> None: ...

    def save_rng(self, directory: Path) -> None: ...
    def load_rng(self, directory: Path) -> None: ...

    def memory(self) -> dict[str, int]:
        return {"allocated": self.level, "peak": self.peak}

    def reset_peak(self) -> None:
        self.peak = self.level

    def environment(self) -> dict[str, str]:
        return {}

    def is_out_of_memory(self, error: BaseException) -> bool:
        return False

    def release_cache(self) -> None: ...

    def memory_snapshot(self) -> dict[str, int]:
        return {}


def measured(work: Callable[[SyntheticDevice, Phases], None]) -> list[tuple[str, int]]:
    """(path, peak) of each phase in the order in which they ended."""
    device, ended = SyntheticDevice(), list[PhaseEnded]()
    work(device, Phases(device, lambda: 0.0, ended.append))
    return [(event.name, event.memory["peak"]) for event in ended]


def test_69_an_inner_peak_counts_for_the_outer_phase_too() -> None:
    def work(device: SyntheticDevice, phases: Phases) -> None:
        with phases.phase("update"):
            device.use(10)
            with phases.phase("forward"):
                device.use(50)
                device.use(-50)
            device.use(5)

    assert measured(work) == [("update/forward", 60), ("update", 60)]


def test_69_an_outer_peak_before_or_after_does_not_count_for_the_inner_phase() -> None:
    def work(device: SyntheticDevice, phases: Phases) -> None:
        with phases.phase("update"):
            device.use(90)
            device.use(-80)
            with phases.phase("forward"):
                device.use(20)
            device.use(100)
            device.use(-100)

    assert measured(work) == [("update/forward", 30), ("update", 130)]


def test_69_phases_side_by_side_have_peaks_of_their_own() -> None:
    def work(device: SyntheticDevice, phases: Phases) -> None:
        for name, amount in (("rollout", 70), ("update", 30)):
            with phases.phase(name):
                device.use(amount)
                device.use(-amount)

    assert measured(work) == [("rollout", 70), ("update", 30)]


def test_69_a_phase_within_itself_is_counted_once_a_call() -> None:
    def work(device: SyntheticDevice, phases: Phases) -> None:
        def recurse(depth: int) -> None:
            with phases.phase("block"):
                device.use(10)
                if depth:
                    recurse(depth - 1)
                device.use(-10)

        recurse(2)

    assert measured(work) == [("block/block/block", 30), ("block/block", 30), ("block", 30)]


def test_69_a_phase_that_fails_reports_its_peak_and_leaves_no_phase_open() -> None:
    def work(device: SyntheticDevice, phases: Phases) -> None:
        with pytest.raises(ValueError, match="broken"), phases.phase("update"), phases.phase("forward"):
            device.use(40)
            raise ValueError("broken")
        device.use(-40)
        with phases.phase("save"):
            device.use(1)

    assert measured(work) == [("update/forward", 40), ("update", 40), ("save", 1)]


def test_69_phases_of_one_name_within_another_are_one_event_with_the_highest_peak() -> None:
    def work(device: SyntheticDevice, phases: Phases) -> None:
        for amounts in ([20, 70, 40], [10]):
            with phases.phase("update"):
                for amount in amounts:
                    with phases.phase("forward"):
                        device.use(amount)
                    device.use(-amount)

    assert measured(work) == [("update/forward", 70), ("update", 70), ("update/forward", 10), ("update", 10)]


@pytest.mark.parametrize("seed", range(20))
def test_69_every_peak_is_the_highest_level_between_begin_and_end(seed: int) -> None:
    """Random trees of phases and allocations against the whole history of levels."""
    device, ended, expected = SyntheticDevice(), list[PhaseEnded](), dict[str, list[int]]()
    phases, choices = Phases(device, lambda: 0.0, ended.append), random.Random(seed)

    def grow(depth: int, path: str) -> None:
        for _ in range(choices.randrange(1, 4)):
            device.use(choices.randrange(-device.level, 100))
            if depth:
                name, began = choices.choice("ab"), len(device.history) - 1
                with phases.phase(name):
                    grow(depth - 1, f"{path}{name}/")
                expected.setdefault(path + name, []).append(max(device.history[began:]))
            device.use(choices.randrange(-device.level, 100))

    with phases.phase("all"):
        grow(3, "all/")
    inner = {event.name: (event.memory["peak"], event.count) for event in ended if event.name != "all"}
    assert inner == {path: (max(peaks), len(peaks)) for path, peaks in expected.items()}
