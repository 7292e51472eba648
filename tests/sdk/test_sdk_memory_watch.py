"""Alerts about memory, from histories that are made up."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from rlhf_sdk.events import Alert, PhaseEnded
from rlhf_sdk.memory_watch import GIB, GROWING, MIB, WARM_UP, MemoryWatch, advice_for

HOST = 24 * GIB


def phase(name: str, **memory: int) -> PhaseEnded:
    return PhaseEnded(name=name, seconds=1.0, memory=memory)


def on_device(
    peak: float, *, limit: float = 80, name: str = "update", reserved: float = 0, others: float = 0
) -> PhaseEnded:
    """Figures in GiB."""
    figures = {"peak": peak, "limit": limit, "reserved": reserved or peak, "others": others}
    return phase(name, **{key: round(value * GIB) for key, value in figures.items()})


def told(watch: MemoryWatch, steps: list[list[PhaseEnded]], *, steps_to_go: int = 10_000) -> list[tuple[int, Alert]]:
    """(step, alert) of everything that is said, from step 1."""
    return [
        (number, alert)
        for number, phases in enumerate(steps, 1)
        for alert in watch.observe(phases, {}, steps_to_go=steps_to_go)
    ]


def test_a_peak_near_the_limit_is_told_once_with_its_innermost_phase() -> None:
    step = [on_device(75, name="update/backward"), on_device(75), on_device(30, name="rollout")]
    ((number, alert),) = told(MemoryWatch(HOST), [[on_device(60)], step, step])
    assert (number, alert.code, alert.severity, alert.phase) == (2, "memory_peak", "warning", "update/backward")
    assert alert.figures == {"peak": 75 * GIB, "limit": 80 * GIB}
    assert "75.00 GiB of 80.00 GiB" in alert.message and "micro_batch_size" in alert.advice


def test_what_others_use_on_the_device_counts_too() -> None:
    ((_, alert),) = told(MemoryWatch(HOST), [[on_device(50, others=25)]])
    assert alert.figures["peak"] == 75 * GIB


def test_a_process_near_the_limit_of_its_group_is_told_too() -> None:
    ((_, alert),) = told(MemoryWatch(4 * GIB), [[phase("rollout", rss=1 * GIB, rss_peak=round(3.7 * GIB))]])
    assert alert.code == "memory_peak" and "the process" in alert.message
    assert alert.advice == advice_for("rollout") != advice_for("update")


def test_moments_that_do_not_fit_are_not_helped_by_fewer_rows() -> None:
    assert "adapters" in advice_for("update/optimizer") and "micro_batch_size" not in advice_for("update/optimizer")


def test_the_forecast_names_steps_and_comes_again_when_half_of_them_have_passed() -> None:
    """1 GiB a step from 20 towards 80."""
    found = told(MemoryWatch(HOST), [[on_device(20 + step, name="update/forward")] for step in range(1, 60)])
    forecasts = [(number, alert) for number, alert in found if alert.code == "memory_forecast"]
    first, alert = forecasts[0]
    assert alert.figures["steps_left"] == pytest.approx(60 - first)
    assert f"about {60 - first} steps" in alert.message and alert.phase == "update/forward"
    left = [alert.figures["steps_left"] for _, alert in forecasts]
    assert all(later <= earlier / 2 for earlier, later in pairwise(left)) and len(left) >= 4
    assert [alert.severity for _, alert in forecasts][:: len(left) - 1] == ["warning", "error"]


def test_a_run_that_ends_before_is_not_bothered() -> None:
    steps = [[on_device(20 + step)] for step in range(1, 30)]
    assert not told(MemoryWatch(HOST), steps, steps_to_go=10)


@pytest.mark.parametrize("seed", range(5))
def test_flat_noisy_runs_raise_no_alarm(seed: int) -> None:
    """Peaks and resident memory that go up and down by a tenth."""
    source, watch, found = random.Random(seed), MemoryWatch(HOST), []
    for _ in range(300):
        rss = round(source.gauss(12, 1) * GIB)
        memory = on_device(source.gauss(50, 4), reserved=60).memory | {"rss": rss, "rss_peak": rss + GIB}
        found += watch.observe([phase("update", **memory)], {"rss": rss, "allocated": 10 * GIB}, steps_to_go=10_000)
    assert found == []


def leaked(name: str, levels: list[int]) -> list[tuple[int, Alert]]:
    watch = MemoryWatch(HOST)
    return [
        (step, alert)
        for step, level in enumerate(levels, 1)
        for alert in watch.observe([], {name: level}, steps_to_go=100)
    ]


@pytest.mark.parametrize(("name", "step_bytes"), [("allocated", MIB), ("rss", 40 * MIB)])
def test_memory_that_grows_with_every_step_is_a_leak(name: str, step_bytes: int) -> None:
    ((step, alert),) = leaked(name, [GIB + step * step_bytes for step in range(60)])
    assert step == WARM_UP + GROWING + 1
    assert alert.code == "memory_leak" and alert.figures["bytes_per_step"] == step_bytes


def test_growth_that_pauses_or_is_tiny_is_no_leak() -> None:
    pauses = [GIB + (step - step // 8) * 40 * MIB for step in range(100)]
    assert leaked("allocated", pauses) == []
    assert leaked("rss", [GIB + step * MIB for step in range(100)]) == []
    assert leaked("allocated", [GIB * (1 + min(step, 8)) for step in range(100)]) == []


def test_reserved_but_unused_memory_on_a_full_device_is_fragmentation() -> None:
    ((_, alert),) = told(MemoryWatch(HOST), [[on_device(55, reserved=70, others=4)]] * 3)
    assert alert.code == "memory_fragmented" and "15.00 GiB" in alert.message
    assert alert.figures == {"reserved": 70 * GIB, "peak": 55 * GIB, "limit": 80 * GIB}


@pytest.mark.parametrize(("peak", "reserved"), [(40, 60), (65, 74)])
def test_room_left_or_little_unused_is_not(peak: float, reserved: float) -> None:
    assert told(MemoryWatch(HOST), [[on_device(peak, reserved=reserved)]]) == []
