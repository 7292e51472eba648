"""Memory over time: what a peak consists of, and how it is drawn."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from rlhf_console.runs.timeline import KINDS, MOST_SPANS, Span, Timeline, kinds_of, sampled_spans
from rlhf_console.scale import View, clock_ticks
from rlhf_console.tui.drawing.axes import AXIS
from rlhf_console.tui.drawing.cells import Row
from rlhf_console.tui.drawing.memory import SPARKS, machine_rows, sparkline
from rlhf_console.tui.drawing.timeline import GLYPHS, LIMIT, kind_legend, phase_letters, timeline_rows
from rlhf_sdk.events import MemoryRow, MemoryTable, PhaseEnded
from rlhf_sdk.machine_samples import DeviceSample, MachineSample

GIB = 2**30
TABLE = MemoryTable(
    rows=[
        MemoryRow(role="policy", kind="weights", bytes=30),
        MemoryRow(role="value_model", kind="weights", bytes=10),
        MemoryRow(role="policy", kind="optimizer", bytes=20),
    ],
    unaccounted=15,
)
WIDTH, HEIGHT = AXIS + 40, 8


def named(kinds: tuple[int, ...]) -> dict[str, int]:
    return {kind: count for kind, count in zip(KINDS, kinds, strict=True) if count}


def text(rows: list[Row]) -> list[str]:
    return ["".join(cell for cell, _ in row) for row in rows]


def phase(name: str, end: float, seconds: float = 1.0, **memory: int) -> PhaseEnded:
    return PhaseEnded(name=name, seconds=seconds, memory=memory, time=end)


def one_kind(start: float, end: float, name: str, **kinds: int) -> Span:
    return Span(start, end, name, tuple(kinds.get(kind, 0) for kind in KINDS))


def test_a_peak_on_a_device_is_what_stays_and_what_comes_and_goes_with_the_cache_on_top() -> None:
    memory = {"rss": 7, "rss_peak": 9, "allocated": 70, "peak": 100, "reserved": 130}
    told = {"weights": 40, "optimizer": 20, "unaccounted": 15, "activations": 25, "cache": 30}
    assert named(kinds_of(memory, TABLE, on_device=True)) == told


def test_without_a_device_the_process_is_what_counts() -> None:
    assert named(kinds_of({"rss": 80, "rss_peak": 95}, TABLE, on_device=False))["activations"] == 95 - 75
    assert named(kinds_of({"rss": 80}, None, on_device=False)) == {"unaccounted": 80}


def test_a_phase_that_did_not_tell_its_peak_on_the_device_has_no_height() -> None:
    timeline = Timeline()
    timeline.end_phase(phase("rollout", 1.0, peak=50), None)
    timeline.end_phase(phase("checkpoint", 2.0, rss=9000), None)
    assert [span.bytes for span in timeline.spans] == [50, 0]


def test_phases_within_others_are_part_of_them() -> None:
    timeline = Timeline()
    timeline.end_phase(phase("update/forward", 3.0, rss=5), None)
    timeline.end_phase(phase("update", 3.0, seconds=2.0, rss=5), None)
    assert [(span.phase, span.start, span.end) for span in timeline.spans] == [("update", 1.0, 3.0)]


def test_a_long_run_keeps_its_highest_peak_and_both_ends_in_bounded_room() -> None:
    timeline = Timeline()
    for number in range(3 * MOST_SPANS):
        timeline.end_phase(phase("rollout" if number % 2 else "update", number + 1.0, rss=number % 1000 + 1), None)
    spans = timeline.spans
    assert len(spans) <= MOST_SPANS
    assert (spans[0].start, spans[-1].end) == (0.0, 3.0 * MOST_SPANS)
    assert max(span.bytes for span in spans) == 1000
    assert all(earlier.end == later.start for earlier, later in itertools.pairwise(spans))


def test_the_area_is_as_high_as_the_peak_and_the_band_says_whose_it_was() -> None:
    spans = [one_kind(100, 110, "rollout", weights=GIB), one_kind(110, 120, "update", weights=GIB, activations=GIB)]
    rows = text(timeline_rows(spans, 100.0, View(0.0, 20.0), None, WIDTH, HEIGHT))
    area, band = [row[AXIS:] for row in rows[:HEIGHT]], rows[HEIGHT][AXIS:]
    assert band.count("R") in (20, 21) and band == band.count("R") * "R" + band.count("U") * "U"
    early, late = ["".join(row[column] for row in area) for column in (5, 35)]
    assert early == " " * (HEIGHT // 2) + GLYPHS["weights"] * (HEIGHT // 2)
    assert late == GLYPHS["activations"] * (HEIGHT // 2) + GLYPHS["weights"] * (HEIGHT // 2)
    assert any("R rollout" in row and "U update" in row for row in rows)


def test_of_equally_high_phases_in_one_column_the_longest_is_named() -> None:
    parts = [("scores", 0.0, 3.0), ("update", 3.0, 90.0), ("rollout", 90.0, 99.0)]
    spans = [one_kind(start, end, name, weights=GIB) for name, start, end in parts]
    band = text(timeline_rows(spans, 0.0, View(0.0, 4000.0), None, WIDTH, HEIGHT))[HEIGHT][AXIS:]
    assert band.strip() == "U"


def test_a_limit_is_in_sight_only_where_it_is_near() -> None:
    spans = [one_kind(0, 10, "update", weights=GIB)]
    near = text(timeline_rows(spans, 0.0, View(0.0, 20.0), int(1.3 * GIB), WIDTH, HEIGHT))
    far = text(timeline_rows(spans, 0.0, View(0.0, 20.0), 80 * GIB, WIDTH, HEIGHT))
    assert any(LIMIT in row for row in near) and not any(LIMIT in row for row in far)


@given(st.lists(st.text(max_size=12), unique=True, max_size=10))
def test_each_phase_has_a_sign_of_its_own(phases: list[str]) -> None:
    letters = phase_letters(phases)
    assert list(letters) == phases and "?" not in letters.values()
    assert len(set(letters.values())) == len(phases) and all(len(letter) == 1 for letter in letters.values())


def test_the_legend_names_only_what_there_is() -> None:
    (row,) = text(kind_legend((GIB, 0, 0, 0, 0, 2**20, 0), 80))
    assert "weights 1.00 GiB" in row and "activations 1.0 MiB" in row and "cache" not in row


def test_every_device_has_a_row_and_so_has_the_process() -> None:
    devices = [
        DeviceSample(index=place, name="card", memory_used=place * GIB, memory_total=4 * GIB, utilization=30)
        for place in (1, 2)
    ]
    moment = MachineSample(
        time=0.0, attempt=1, rss=GIB, cpu_percent=150.0, memory_available=3 * GIB, disk_free=0, devices=devices
    )
    rows = text(machine_rows([moment], 120))
    assert "GPU 1 card" in rows[0] and "1.00 GiB of 4.00 GiB (25%)" in rows[0] and "busy 30 %" in rows[0]
    assert "2.00 GiB of 4.00 GiB (50%)" in rows[1]
    assert "1.00 GiB of 4.00 GiB (25%)" in rows[2] and "1.5 cores" in rows[3]


def test_where_phases_told_nothing_the_samples_of_the_machine_are_drawn() -> None:
    moments = [
        MachineSample(time=time, attempt=1, rss=rss, memory_available=0, disk_free=0)
        for time, rss in ((10.0, 1), (11.0, 2), (12.0, 3), (20.0, 4))
    ]
    phases = [one_kind(10.5, 11.5, "rollout"), one_kind(11.5, 12.5, "update")]
    found = [(span.start, span.end, span.phase, span.bytes) for span in sampled_spans(moments, phases)]
    assert found == [(10.0, 11.0, "rollout", 2), (11.0, 12.0, "update", 3), (12.0, 20.0, "update", 4)]
    assert [span.phase for span in sampled_spans(moments, phases[:1])] == ["rollout", "rollout", ""]


def test_a_trend_is_drawn_above_nought() -> None:
    (row,) = text([sparkline([0, 5, 10], 2)])
    assert row == SPARKS[4] + SPARKS[-1]
    assert text([sparkline([], 2)]) == [""]


def test_seconds_along_an_axis_are_round_on_a_clock() -> None:
    assert clock_ticks(View(0.0, 700.0), 4) == [0, 300, 600]
    assert clock_ticks(View(10.0, 95.0), 6) == [15, 30, 45, 60, 75, 90]
    assert clock_ticks(View(0.0, 20 * 3600.0), 5) == [0, 4 * 3600, 8 * 3600, 12 * 3600, 16 * 3600, 20 * 3600]
