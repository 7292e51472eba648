"""Everything that keys do in the lists, tabs and charts, done with the mouse."""

from pathlib import Path

from textual import events
from textual.pilot import Pilot

from driving import drive, screen_lines, shown
from recorded import write_healthy, write_pipeline
from rlhf_console.tui.drawing.axes import AXIS
from rlhf_console.tui.screens.charts import ChartsView
from rlhf_console.tui.widgets.chart import MetricChart


async def click(pilot: Pilot[None], text: str, times: int = 1) -> None:
    """On the first place where `text` stands."""
    y, line = next((y, line) for y, line in enumerate(screen_lines(pilot)) if text in line)
    await pilot.click(offset=(line.index(text) + 1, y), times=times)


async def wheel(pilot: Pilot[None], chart: MetricChart, x: int, kind: type[events.MouseEvent]) -> None:
    place = chart.region.offset
    event = kind(chart, x, 5, 0, 0, 0, False, False, False, screen_x=place.x + x, screen_y=place.y + 5)
    chart.post_message(event)
    await pilot.pause(0.1)


def test_rows_tabs_stages_and_answers_are_clicked(tmp_path: Path) -> None:
    write_pipeline(tmp_path)

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "3 runs")
        await click(pilot, "└ ppo", times=2)
        await shown(pilot, "step 26/26", "Entropy")
        await click(pilot, "Samples")
        await shown(pilot, "1 of 26")
        await click(pilot, "update 23")
        await shown(pilot, "4 of 26")
        await click(pilot, "Result")
        await shown(pilot, "this run has no result")
        await pilot.press("x")
        await shown(pilot, "Stop demo.ppo?", "y Yes")
        await click(pilot, "n No")
        await shown(pilot, "this run has no result")
        await pilot.press("escape", "home", "enter")
        await shown(pilot, "✓ sft", "▶ ppo")
        await click(pilot, "✓ sft")
        await shown(pilot, "demo.sft", "● 0.250")

    drive(tmp_path, script)


def test_a_click_sets_the_crosshair_and_the_wheel_zooms_around_the_mouse(tmp_path: Path) -> None:
    write_healthy(tmp_path)

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "4 of 4")
        view = pilot.app.screen.query_one(ChartsView)
        chart = view.query(MetricChart).first()
        cells = chart.size.width - AXIS
        await pilot.click(chart, offset=(AXIS + round((cells - 1) / 2), 6))
        await pilot.pause()
        assert view.options.cursor == 13
        await shown(pilot, "1.300", "● 0.650")
        await pilot.click(chart, offset=(3, 0))
        await pilot.pause()
        assert view.options.cursor == 13
        x = AXIS + round((cells - 1) / 4)
        for _ in range(4):
            await wheel(pilot, chart, x, events.MouseScrollUp)
        zoomed = view.options.view
        assert zoomed is not None and view.options.cursor == 13
        assert abs((zoomed.last - zoomed.first) - 26 * 0.8**4) < 0.01
        assert abs((zoomed.first + (zoomed.last - zoomed.first) / 4) - 6.5) < 0.5
        for _ in range(9):
            await wheel(pilot, chart, x, events.MouseScrollDown)
        assert view.options.view is None
        await pilot.click(chart, offset=(AXIS + 5, 6), times=2)
        await shown(pilot, "1 of 4")

    drive(tmp_path, script, run="ppo")
