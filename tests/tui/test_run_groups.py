"""The list of runs: trees, tags, archive, figures of a row, and what listing thousands costs."""

import asyncio
import math
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from textual.pilot import Pilot
from typer.testing import CliRunner

from driving import drive, screen_lines, shown
from recorded import append, append_events, ppo_update, write_healthy, write_pipeline, write_record
from rlhf_console.cli.main import app
from rlhf_console.headlines import Declared
from rlhf_console.runs.arranging import Arrangement, came_from
from rlhf_console.runs.glance import Glance, MemoryUse, memory_use, read_heading
from rlhf_console.runs.index import RunIndex
from rlhf_console.runs.removing import ARCHIVE, archive, restore
from rlhf_console.runs.sweep_tree import listed_id
from rlhf_console.runs.tags import read_tags, write_tags
from rlhf_console.runs.trend import PIECE, PLACES, Trend
from rlhf_console.tui.drawing.cells import Row
from rlhf_console.tui.drawing.gauges import memory_bar, sparkline
from rlhf_console.tui.drawing.run_rows import about_row, run_row
from rlhf_sdk.events import Alert, Event, Started, StateChanged, encode_line
from rlhf_sdk.machine_samples import DeviceSample, MachineSample
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError

GIB = 2**30


def text(row: Row) -> str:
    return "".join(character for character, _ in row)


def glance(root: Path, run_id: str, **fields: object) -> Glance:
    directory = RunDir(write_record(root, run_id, **fields))  # type: ignore[arg-type]
    return Glance(directory, read_heading(directory), State.FINISHED)


def test_stages_and_descendants_stand_below_what_they_came_from(tmp_path: Path) -> None:
    runs = [
        glance(tmp_path, "sft", created=1.0),
        glance(tmp_path, "rm", created=2.0, parents={"model.path": "sft"}),
        glance(tmp_path, "ppo", created=3.0, parents={"reward_model.path": "rm", "model.path": "sft"}),
        glance(tmp_path, "again", created=4.0, parents={"fork": "ppo", "model.path": "sft"}),
        glance(tmp_path, "pipe", created=5.0),
        glance(tmp_path, "pipe.sft", created=6.0, pipeline="pipe", stage="sft"),
        glance(tmp_path, "x", created=7.0, parents={"model.path": "y"}),
        glance(tmp_path, "y", created=8.0, parents={"model.path": "x"}),
    ]

    def listed(arrangement: Arrangement) -> list[str]:
        listing = arrangement.arranged(runs)
        return ["." * listing.place(run).depth + listed_id(run) for run in listing.runs]

    assert listed(Arrangement()) == ["y", "x", "pipe", ".pipe.sft", "again", "ppo", "rm", "sft"]
    lineage = Arrangement(order="lineage")
    assert listed(lineage) == ["pipe", ".pipe.sft", "sft", ".rm", ".ppo", "..again", "y", ".x"]
    assert listed(lineage.with_fold("sft", folded=True)) == ["pipe", ".pipe.sft", "sft", "y", ".x"]
    assert came_from(runs, "sft") == ["rm", "ppo", "again"] and came_from(runs, "pipe") == []
    shown = text(about_row(runs[3], 120))
    assert "← ppo (fork) sft (model)" in shown


def test_tags_are_kept_found_and_refused(tmp_path: Path) -> None:
    run = glance(tmp_path, "tagged")
    assert write_tags(run.directory, ["#Baseline", "good", "good"]) == ("baseline", "good") == read_tags(run.directory)
    run.look()
    assert [Arrangement(words=words).shows(run) for words in ("#baseline", "#base good", "!#good", "#bad")] == [
        True, True, False, False,
    ]  # fmt: skip
    with pytest.raises(UserError, match="'two words' can't be used"):
        write_tags(run.directory, ["two words"])
    (run.directory.path / "tags.json").write_text('{"no": "list"}')
    with pytest.raises(UserError, match=r"tags\.json is damaged"):
        read_tags(run.directory)


def test_a_row_has_alert_memory_and_trend_where_there_is_room(tmp_path: Path) -> None:
    directory = write_record(tmp_path, "ppo-live")
    steps: list[Event] = [event for step in range(1, 27) for event in ppo_update(step)]
    append_events(directory, [Started(plugin="ppo", total_steps=26), StateChanged(state="running"), *steps])
    append(directory, "alerts.jsonl", encode_line(Alert(severity="error", code="disk_nearly_full", message="full")))
    run = Glance(RunDir(directory), read_heading(RunDir(directory)))
    run.look_closely()
    run.memory = MemoryUse(3 * GIB, 4 * GIB)
    declared = Declared(headline=("reward/score_mean",))
    row = text(run_row(run, declared, 160, time.time()))
    assert len(row) == 160 and "✗ disk_nea…" in row and "████░ 75%" in row and "▁▂▃▃▄▅▆▆▇█" in row
    narrow = text(run_row(run, declared, 80, time.time()))
    assert len(narrow) == 80 and "✗" in narrow and "26/26" in narrow and "█" not in narrow


def test_gauges_know_their_bounds() -> None:
    assert text(sparkline([0, 1, math.nan, 2], 8)) == "▁▅×█"
    assert text(sparkline([math.inf], 8)) == "×" and text(sparkline([5.0, 5.0], 8)) == "▁▁"
    assert text(sparkline(list(range(100)), 4)) == "▁▃▆█"
    assert text(memory_bar(MemoryUse(95, 100), 10)) == "█████ 95%!"
    assert text(memory_bar(None, 10)) == ""


def test_memory_is_that_of_the_fullest_gpu_else_the_limit_else_the_machine() -> None:
    plain = MachineSample(time=0, attempt=1, rss=GIB, memory_available=3 * GIB, disk_free=0)
    limited = MachineSample(
        time=0, attempt=1, rss=GIB, memory_available=0, cgroup_used=GIB, cgroup_limit=2 * GIB, disk_free=0
    )
    devices = [DeviceSample(index=i, name="gpu", memory_used=used, memory_total=80) for i, used in enumerate((8, 64))]
    gpus = MachineSample(time=0, attempt=1, memory_available=0, disk_free=0, devices=devices)
    uses = [memory_use(plain), memory_use(limited), memory_use(gpus)]
    assert uses == [MemoryUse(GIB, 4 * GIB), MemoryUse(GIB, 2 * GIB), MemoryUse(64, 80)]


def test_a_trend_reads_a_few_pieces_of_a_large_file(tmp_path: Path) -> None:
    directory = write_record(tmp_path, "large")
    append_events(directory, [event for step in range(1, 6001) for event in ppo_update(step)])
    trend = Trend(directory / "events.jsonl")
    trend.refresh()
    scores = trend.values("reward/score_mean")
    assert (directory / "events.jsonl").stat().st_size > 4 * PLACES * PIECE
    assert scores == sorted(scores) and scores[0] == 0.1 and scores[-1] == 600.0
    assert len({round(score / 40) for score in scores}) == PLACES


OPENED: Counter[str] | None = None
"""Files opened by name while a test counts them."""


def _count(event: str, arguments: tuple[object, ...]) -> None:
    if OPENED is not None and event == "open" and isinstance(arguments[0], str):
        OPENED[Path(arguments[0]).name] += 1


sys.addaudithook(_count)


def test_listing_opens_one_file_a_run_and_more_of_those_in_sight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        write_healthy(tmp_path, f"run-{number:02}", created=float(number))
    index, counted = RunIndex(tmp_path), Counter[str]()
    monkeypatch.setattr(sys.modules[__name__], "OPENED", counted)
    asyncio.run(index._open_new(math.inf))
    assert counted == {"run.json": 40}
    counted.clear()
    asyncio.run(index.refresh(index.runs[:5]))
    assert counted["run.json"] == 0 and 0 < counted["events.jsonl"] <= 5 * 3
    assert all(run.state is State.FINISHED for run in index.runs)
    assert [bool(run.summary.metrics) for run in index.runs] == [True] * 5 + [False] * 35


def test_what_was_archived_comes_back_unless_its_place_is_taken(tmp_path: Path) -> None:
    write_healthy(tmp_path, "one")
    archive(RunDir(tmp_path / "one"))
    write_healthy(tmp_path, "one")
    with pytest.raises(UserError, match="has a run one already"):
        restore(RunDir(tmp_path / ARCHIVE / "one"))
    archived = RunDir(tmp_path / "one")
    archived.path.rename(tmp_path / "two")
    restore(RunDir(tmp_path / ARCHIVE / "one"))
    assert (tmp_path / "one" / "run.json").is_file() and not list((tmp_path / ARCHIVE).iterdir())


def test_fold_tag_filter_archive_and_restore_with_the_keyboard(tmp_path: Path) -> None:
    write_pipeline(tmp_path)
    write_healthy(tmp_path, "user", parents={"model.path": "other"}, created=5.0)
    write_healthy(tmp_path, "other", created=4.0)

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "▾ demo", "└ sft", "└ ppo")
        await pilot.press("down", "left")
        lines = await shown(pilot, "▸ 2 demo")
        assert "└" not in "".join(lines)
        await pilot.press("right", "end", "t", *"keep #Good", "enter")
        await shown(pilot, "#good #keep", "└ sft")
        assert read_tags(RunDir(tmp_path / "other")) == ("good", "keep")
        await pilot.press("slash", *"#good", "enter", "a")
        await shown(pilot, "Archive other?", "used by user,")
        await pilot.press("y", "escape", "A")
        await shown(pilot, "archive: 1 runs", "other")
        await pilot.press("a", "y", "A")
        await shown(pilot, "5 runs", "└ sft")
        lines = await shown(pilot, "other")
        assert (tmp_path / "other").is_dir() and "archive:" not in screen_lines(pilot)[0]

    drive(tmp_path, script)


def test_the_command_line_tags_too(tmp_path: Path) -> None:
    write_healthy(tmp_path, "mine")

    def tag(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["tag", "mine", *arguments, "--runs", str(tmp_path)])
        return done.exit_code, done.stdout.strip()

    assert tag("good", "#Better") == (0, "#better #good")
    assert tag("best", "--remove", "good") == (0, "#best #better")
    assert tag() == (0, "#best #better")
