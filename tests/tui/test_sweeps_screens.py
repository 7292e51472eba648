"""A sweep in the full screen: the tree of points and seeds, means with their bands, marks, each seed by itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot

from driving import drive, shown
from recorded import BEGAN, write_healthy
from recorded_sweeps import HALF, write_cell, write_sweep
from rlhf_console.runs.arranging import Arrangement
from rlhf_console.runs.glance import Glance, read_heading
from rlhf_console.runs.marks import MOST, Marks
from rlhf_console.runs.sweep_tree import ListedPoint, listed_id
from rlhf_console.runs.sweeps import points_of, short_names
from rlhf_console.scale import Scale, View, value_scale
from rlhf_console.tui.drawing.bands import BandColumns, draw_band, with_bands
from rlhf_console.tui.drawing.canvas import BRAILLE, Canvas
from rlhf_console.tui.drawing.cells import plain_text
from rlhf_console.tui.drawing.chart_options import ChartOptions
from rlhf_console.tui.drawing.figures_text import figures_text
from rlhf_console.tui.drawing.legend import value_text
from rlhf_console.tui.drawing.lines import MARKERS, Band, Line
from rlhf_console.tui.drawing.pareto import pareto_rows
from rlhf_console.tui.drawing.point_rows import about_point
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.spec import Panel
from rlhf_sdk.states import State
from snapshots import check, snapshot, still_clock

NOW = BEGAN + 7200
WHOLE = View(0.0, 10.0)


def glances(root: Path) -> list[Glance]:
    found = [Glance(RunDir(path), read_heading(RunDir(path))) for path in sorted(root.iterdir())]
    for run in found:
        run.look()
    return found


def listed(root: Path, arrangement: Arrangement) -> list[str]:
    listing = arrangement.arranged(glances(root))
    return ["." * listing.place(item).depth + listed_id(item) for item in listing.runs]


def test_points_stand_between_a_sweep_and_its_cells_and_fold(tmp_path: Path) -> None:
    write_sweep(tmp_path, seeds=2)
    first = "swept: ppo.weight=1"
    cells = ["..swept.weight-2-s0", "..swept.weight-2-s1"]
    folded = ["swept", f".{first}", ".swept: ppo.weight=2", *cells]
    assert listed(tmp_path, Arrangement(folded=frozenset({first}))) == folded
    assert listed(tmp_path, Arrangement())[2:4] == ["..swept.weight-1-s0", "..swept.weight-1-s1"]
    assert listed(tmp_path, Arrangement(folded=frozenset({"swept"}))) == ["swept"]
    assert listed(tmp_path, Arrangement(order="name"))[:2] == ["swept", "swept.weight-1-s0"], "no tree, no points"


def test_a_point_is_at_work_while_any_cell_is_and_else_as_its_worst_one(tmp_path: Path) -> None:
    write_sweep(tmp_path, weights=(1,), short=5)
    listing = Arrangement().arranged(glances(tmp_path))
    point = next(item for item in listing.runs if isinstance(item, ListedPoint))
    assert (point.state, point.finished) == (State.STOPPED, 2)
    assert plain_text(about_point(point, 120)) == "ppo.weight=1  2 finished, 1 stopped  of swept"
    point.cells[0].state = State.RUNNING
    assert str(point.state) == "running"
    for cell in point.cells:
        cell.state = State.FINISHED
    assert str(point.state) == "finished"


def test_a_damaged_or_foreign_record_has_no_points(tmp_path: Path) -> None:
    directory = write_sweep(tmp_path)
    points = points_of(RunDir(directory))
    assert points[0].cells == ("weight-1-s0", "weight-1-s1", "weight-1-s2")
    assert short_names(points) == {"ppo.weight=1": "weight=1", "ppo.weight=2": "weight=2"}
    record = msgspec.json.decode((directory / "run.json").read_bytes())
    record["config"]["rows"] = {"../up": ["../../up", "weight-1-s0"]}
    (directory / "run.json").write_bytes(msgspec.json.encode(record))
    (point,) = points_of(RunDir(directory))
    assert [run.id for run in point.runs()] == ["swept.weight-1-s0"], "a cell leads nowhere else"
    record["config"]["rows"] = 5
    (directory / "run.json").write_bytes(msgspec.json.encode(record))
    assert points_of(RunDir(directory)) == []


def test_marks_take_points_as_one_and_as_many_as_there_is_room_for(tmp_path: Path) -> None:
    points = points_of(RunDir(write_sweep(tmp_path, weights=(1, 2, 3, 4))))
    marks = Marks()
    assert marks.turn_all(points) == MOST and [marks.place_of(point.id) for point in points] == [0, 1, 2, None]
    assert len(marks.runs) == 3 * MOST
    assert marks.turn_all(points) == 0 and marks.runs == []
    marks.turn(points[3])
    marks.forget("swept")
    assert marks.runs == []


def band_columns(low: list[float], high: list[float]) -> BandColumns:
    xs = [float(x) for x in range(len(low))]
    columns = BandColumns(WHOLE, 20, log=False)
    columns.follow(Line("mean", xs, [0.0] * len(low), band=Band(low, high, [3] * len(low))))
    return columns


def test_a_band_is_a_field_between_its_ends_and_lines_cover_it() -> None:
    canvas, scale = Canvas(10, 8), Scale(0.0, 8.0, (0.0, 8.0))
    draw_band(canvas, band_columns([2.0] * 11, [6.0] * 11), scale, 0)
    rows = [[bool(ord(text) > BRAILLE) for text, _ in row] for row in canvas.rows()]
    assert [all(row) for row in rows] == [False, False, True, True, True, True, False, False]
    assert not any(any(row) for row in rows[:2] + rows[6:])
    before = canvas.rows()[3][5]
    canvas.dot(10, 14, "series-1")
    assert canvas.rows()[3][5] == (chr(BRAILLE + 4), "series-1") != before


def test_a_gap_in_the_band_stays_one_and_each_look_has_dots_of_its_own() -> None:
    gap = [math.nan if 3 <= x <= 6 else 0.0 for x in range(11)]
    canvas, scale = Canvas(10, 2), Scale(-1.0, 1.0, (0.0,))
    draw_band(canvas, band_columns([x - 1 for x in gap], [x + 1 for x in gap]), scale, 0)
    filled = [text != " " for text, _ in canvas.rows()[0]]
    assert filled[:2] == [True, True] and not any(filled[3:6]) and filled[8:] == [True, True]
    alone = set()
    for look in range(len(MARKERS)):
        canvas = Canvas(10, 1)
        draw_band(canvas, band_columns([-1.0] * 11, [1.0] * 11), scale, look)
        alone.add(canvas.rows()[0][4][0])
    assert len(alone) == len(MARKERS)


def test_a_wide_band_widens_the_axis_by_no_more_than_the_lines_height() -> None:
    assert with_bands(0.0, 2.0, [band_columns([-1.0], [2.5])]) == (-1.0, 2.5)
    assert with_bands(0.0, 2.0, [band_columns([-50.0], [90.0])]) == (-2.0, 4.0)
    assert with_bands(1.0, 1.0, [band_columns([-3.0], [5.0])]) == (-3.0, 5.0), "a flat line has no height"
    assert value_scale(*with_bands(0.0, 1.0, [band_columns([math.nan], [math.nan])]), 5).low == 0.0


def test_the_legend_says_the_interval_or_that_there_is_one_seed() -> None:
    line = Line("mean", [1, 2], [2.0, 3.0], newest=3.0, band=Band([1.0, math.nan], [3.0, math.nan], [3, 1]))
    assert value_text(line, 1.0) == "2±1" and value_text(line) == "3 n=1" and value_text(line, 0.0) == "-"


def test_copied_figures_are_those_in_sight_with_the_ends_of_bands() -> None:
    line = Line(
        "a, b", [1, 2, 3], [2.0, 3.0, math.inf], band=Band([1.0, math.nan, 0.0], [3.0, math.nan, 0.0], [3, 1, 2])
    )
    options = ChartOptions(view=View(1.5, 3.0))
    text = figures_text(Panel("Reward", ["reward"], "points"), [line], options).splitlines()
    assert text == ["step,line,points,low,high,runs", '2,"a, b",3.0,,,1', '3,"a, b",Infinity,0.0,0.0,2']
    assert len(figures_text(Panel("Reward", ["reward"]), [line] * 2, ChartOptions(), most=4).splitlines()) == 1 + 4


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with still_clock(monkeypatch, tmp_path, NOW):
        write_sweep(Path("runs"), weights=(1, 2), short=12)
        yield Path("runs")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_no_screen_of_a_sweep_has_changed_unseen(root: Path, size: tuple[int, int]) -> None:
    folder, differences = f"{size[0]}x{size[1]}", list[str]()

    async def look(pilot: Pilot[None], name: str, *wanted: str) -> None:
        differences.extend(check(f"{folder}/{name}", await snapshot(pilot, ["dark"], *wanted)))

    async def script(pilot: Pilot[None]) -> None:
        await look(pilot, "sweep-tree", "2/3 seeds", f"reward 20±{HALF:.2g}")
        await pilot.press("enter")
        await look(pilot, "sweep-charts", f"20±{HALF:.2g}", "▲ weight=2 n=3")
        await pilot.press("m")
        await look(pilot, "sweep-seeds", "each seed")
        assert not differences, "\n".join([*differences, "if it is meant: make snapshots"])

    drive(root, script, size=size)


def test_points_are_marked_opened_alone_and_laid_over_other_runs(tmp_path: Path) -> None:
    write_sweep(tmp_path, weights=(1, 2, 3))
    write_healthy(tmp_path, "other", created=1.0)

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "└ weight=3", f"reward 60±{HALF:.2g}", "other")
        await pilot.press("down", "down", "left", "left")
        lines = await shown(pilot, "▸ 9 swept")
        assert not any("weight" in line for line in lines[2:])
        await pilot.press("right", "down", "space", "enter")
        lines = await shown(pilot, "weight=2 n=3", f"40±{HALF:.2g}")
        assert not any("weight=1" in line for line in lines), "the point alone"
        await pilot.press("escape", "home", "enter")
        lines = await shown(pilot, "◆ weight=1 n=3", "20±", "2 more points: mark those")
        await pilot.press("escape", "end", "enter")
        await shown(pilot, "other", "● score_mean 2.600", "◆ weight=1")
        await pilot.press("enter")
        await shown(pilot, f"◆ weight=1 20±{HALF:.2g}")
        await pilot.press("escape", "escape", "home", "enter", "y")
        await shown(pilot, "copied step,line,points,low,high,runs")

    drive(tmp_path, script)


def test_runs_by_hand_that_differ_in_their_seed_become_a_mean(tmp_path: Path) -> None:
    for seed in range(3):
        write_cell(tmp_path, f"hand-{seed}", 1.0, seed, created=float(seed))
    write_cell(tmp_path, "unlike", 2.0, 0, created=9.0)

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "4 runs", "hand-2")
        await pilot.press("space", "space", "space", "enter")
        lines = await shown(pilot, "● reward 19", "◆ unlike")
        assert "±" not in "".join(lines)
        await pilot.press("m")
        lines = await shown(pilot, f"● reward 20±{HALF:.2g}", "◆ unlike 39", "mean over 3 seeds")
        await pilot.press("m")
        await shown(pilot, "● reward 19")

    drive(tmp_path, script)


def figure_of(mean: float, half: float | None = None) -> dict[str, float | None]:
    return {"mean": mean, "half_width": half, "seeds": 3}


def swept(**points: tuple[float, float]) -> dict[str, Any]:
    rows = {name: {"gold": figure_of(gain, 0.5), "kl": figure_of(cost, 1.0)} for name, (gain, cost) in points.items()}
    return {"sweep": {"tables": [], "rows": rows, "gain": "gold", "cost": "kl", "front": ["a"]}}


def test_gain_against_cost_has_a_sign_for_each_point_with_its_intervals() -> None:
    rows = [plain_text(row) for row in pareto_rows(swept(a=(4.0, 2.0), b=(1.0, 8.0)), 79)]
    (high,), (low,) = ([line for line in rows[1:13] if sign in line] for sign in MARKERS[:2])
    assert rows.index(high) < rows.index(low) and high.index("●") < low.index("▲")
    assert "● a on the front" in rows[-2] and "▲ b beaten" in rows[-2]
    across = [column for column, text in enumerate(low) if ord(text) > BRAILLE]
    assert across[0] < low.index("▲") < across[-1], "its interval lies on both sides"
    assert all(len(row) <= 79 for row in rows)


def test_a_result_that_is_no_sweeps_has_no_such_picture() -> None:
    assert pareto_rows({}, 79) == pareto_rows({"sweep": {"rows": 3}}, 79) == []
    without = swept(a=(1.0, 1.0))
    del without["sweep"]["gain"]
    assert pareto_rows(without, 79) == [] and pareto_rows(swept(a=(1.0, 1.0)), 20) == []
