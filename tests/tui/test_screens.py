"""Keys and clicks in, screens out."""

import time
from pathlib import Path

import pytest
from textual.pilot import Pilot

from driving import drive, screen_lines, shown
from recorded import (
    HOSTILE,
    append,
    append_events,
    machine_line,
    ppo_update,
    write_healthy,
    write_pipeline,
    write_record,
    write_spoiled,
)
from rlhf_console.tui.screens.charts import ChartsView
from rlhf_console.tui.widgets.chart import MetricChart
from rlhf_sdk.events import MetricsLogged, Sample, Started, StateChanged, encode_line

SIZES = [(80, 24), (120, 40), (200, 55)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_healthy(tmp_path)
    write_spoiled(tmp_path)
    return tmp_path


def line_of(lines: list[str], text: str) -> int:
    return next(y for y, line in enumerate(lines) if text in line)


@pytest.mark.parametrize("size", SIZES)
def test_runs_then_charts_then_samples_then_back(root: Path, size: tuple[int, int]) -> None:
    async def script(pilot: Pilot[None]) -> None:
        listed = await shown(pilot, "2 runs, 0 at work", "✓ finished", "✗ failed", "26/26", "reward 2.6")
        if line_of(listed, "ppo-healthy") > line_of(listed, "ppo-spoiled"):
            await pilot.press("down")
        await pilot.press("enter")
        charts = await shown(
            pilot, "Reward (points)", "KL to the SFT policy (nats/sequence)", "Memory, RSS (GiB)", "1.300"
        )
        assert any("\u2800" < character <= "\u28ff" for line in charts for character in line)
        assert any("step 26/26" in line and "━" * 8 in line for line in charts)
        assert any("✓ 1 checks passed" in line for line in charts)
        await pilot.press("tab")
        await shown(pilot, "1 of 26", "update 26", "call your sister")
        await pilot.press("down")
        await shown(pilot, "2 of 26", "step 25 · rollout #0", "no EOS: cut off")
        await pilot.press("escape")
        await shown(pilot, "2 runs, 0 at work")

    drive(root, script, size=size)


def test_a_narrow_terminal_has_one_chart_and_the_list_of_all(root: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "1 of 4", "Entropy (nats/token)")
        charts = pilot.app.screen.query_one(ChartsView).query(MetricChart)
        assert len([chart for chart in charts if chart.display]) == 1
        await pilot.press("down")
        lines = await shown(pilot, "2 of 4")
        assert line_of(lines, "KL to the SFT policy") < line_of(lines, "Reward (points)")
        await pilot.press("enter")
        await pilot.pause()
        assert "Reward (points)" not in "".join(screen_lines(pilot))
        await pilot.press("escape")
        await shown(pilot, "Reward (points)")

    drive(root, script, run="ppo-healthy", size=(80, 24))


def test_a_wide_terminal_has_a_grid_and_enter_enlarges(root: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        lines = await shown(pilot, "1-4 of 4", "▸ Reward (points)", "update 26")
        assert line_of(lines, "Reward (points)") == line_of(lines, "KL to the SFT policy")
        await pilot.press("right", "down")
        await shown(pilot, "▸ Memory, RSS (GiB)")
        await pilot.press("enter")
        await shown(pilot, "4 of 4")
        assert "Entropy" not in "".join(screen_lines(pilot))
        await pilot.press("left")
        await shown(pilot, "3 of 4", "Entropy (nats/token)")

    drive(root, script, run="ppo-healthy")


def test_nan_is_marked_and_hostile_text_is_escaped(root: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        charts = await shown(pilot, "✗ failed", "loss is not finite", "×", "NaN", "charts by metric name")
        assert any("└" in line and "×" in line for line in charts)
        await pilot.press("tab")
        text = "\n".join(await shown(pilot, "\\x1b[31mred", "[bold]not markup[/bold]", "\\u202e"))
        assert not {"\x1b", "\x07", "\u202e"} & set(text)

    drive(root, script, run="ppo-spoiled")


def test_a_pipeline_shows_its_stages_and_the_one_at_work(tmp_path: Path) -> None:
    write_pipeline(tmp_path)

    async def script(pilot: Pilot[None]) -> None:
        lines = await shown(pilot, "✓ sft", "▶ ppo", "○ eval", "demo.ppo", "Reward (points)")
        await pilot.press("[")
        await shown(pilot, "demo.sft", "step 8/8", "Result")
        await pilot.press("8")
        await shown(pilot, "Held out", "0.42")
        await pilot.press("1")
        await pilot.click(offset=(lines[line_of(lines, "▶ ppo")].index("ppo"), line_of(lines, "▶ ppo")))
        await shown(pilot, "demo.ppo", "Reward (points)")

    drive(tmp_path, script, run="demo")


def test_stages_are_listed_below_their_pipeline(tmp_path: Path) -> None:
    write_pipeline(tmp_path)

    async def script(pilot: Pilot[None]) -> None:
        lines = await shown(pilot, "└ sft", "└ ppo", "8/8", "26/26")
        assert line_of(lines, "demo  ") < line_of(lines, "└ sft") < line_of(lines, "└ ppo")

    drive(tmp_path, script)


def test_the_mouse_opens_runs_views_and_charts(root: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        lines = await shown(pilot, "ppo-healthy")
        await pilot.click(offset=(3, line_of(lines, "ppo-healthy")), times=2)
        lines = await shown(pilot, "Entropy (nats/token)")
        await pilot.click(offset=(10, line_of(lines, "Entropy") + 2), times=2)
        await shown(pilot, "3 of 4")
        await pilot.click(offset=(14, line_of(lines, " Samples")))
        await shown(pilot, "── newest · after", "1 of 1")

    drive(root, script)


def test_what_is_written_appears_within_a_second(tmp_path: Path) -> None:
    directory = write_record(tmp_path, "ppo-live")
    append_events(directory, [Started(plugin="ppo", total_steps=26), StateChanged(state="running"), *ppo_update(1)])

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "step 1/26", "0.100")
        began = time.monotonic()
        append(directory, "events.jsonl", *map(encode_line, ppo_update(2)))
        await shown(pilot, "step 2/26", "score_mean 0.200")
        assert time.monotonic() - began < 2.0
        append(
            directory, "samples.jsonl", encode_line(Sample(seq=1, tag="t", index=7, prompt="p", response="brand new"))
        )
        await shown(pilot, "brand new")

    drive(tmp_path, script, run="ppo-live")


def test_memory_comes_from_the_machine_where_phases_tell_none(tmp_path: Path) -> None:
    directory = write_record(tmp_path, "echo", plugin="echo")
    logged = [MetricsLogged(values={"echo/score": 1.0}, seconds=1.0, step=step, time=1.8e9 + step) for step in (1, 2)]
    append_events(directory, [Started(plugin="echo", total_steps=2), *logged])
    append(directory, "machine.jsonl", machine_line(0.5, 2**30), machine_line(1.5, 3 * 2**30), machine_line(2.5, 2**30))

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "Memory, RSS (GiB)", "RSS 1.00 GiB")

    drive(tmp_path, script, run="echo")


def test_a_resize_storm_leaves_a_working_screen(root: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "Entropy")
        for size in [(80, 24), (1, 1), (200, 55), (20, 5), (120, 40)]:
            await pilot.resize_terminal(*size)
        await shown(pilot, "Entropy", "1-4 of 4")

    drive(root, script, run="ppo-healthy")


def test_an_empty_root_says_how_to_start(tmp_path: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "rlhf demo")

    drive(tmp_path, script, size=(80, 24))


def test_hundreds_of_runs_scroll(tmp_path: Path) -> None:
    for number in range(300):
        write_record(tmp_path, f"run-{number:03}", created=float(number))

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "300 runs", "run-299")
        await pilot.press("end")
        await shown(pilot, "run-000")
        write_healthy(tmp_path, "brand-new")
        await shown(pilot, "301 runs", "run-000")

    drive(tmp_path, script, size=(80, 24))


def test_a_damaged_run_is_counted_and_harms_no_other(root: Path) -> None:
    (root / "broken").mkdir()
    (root / "broken" / "run.json").write_text(HOSTILE)

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "2 runs", "1 unreadable", "ppo-healthy")

    drive(root, script)
