"""Alerts and sanity lights: what to look at first, and the way to what else happened then."""

from pathlib import Path

from textual.pilot import Pilot

from driving import drive, shown
from recorded import BEGAN, append, append_events, ppo_update, write_record
from rlhf_console.runs.fold import RunSummary, fold
from rlhf_console.tui.drawing.alerts import alert_page
from rlhf_console.tui.drawing.cells import Row
from rlhf_console.tui.drawing.checks import check_rows
from rlhf_sdk.events import Alert, Check, CheckStatus, PhaseEnded, Started, encode_line


def text(rows: list[Row]) -> list[str]:
    return ["".join(cell for cell, _ in row).rstrip() for row in rows]


def light(name: str, step: int, status: CheckStatus) -> Check:
    return Check(name=name, status=status, figure=1.0, tolerance=2.0, step=step, explanation=f"why {name}")


def test_of_the_worst_lights_the_one_that_turned_first_is_to_be_looked_at() -> None:
    told = [light("kl", 1, "ok"), light("eos", 2, "warn"), light("kl", 9, "fail"), light("ratio", 4, "fail")]
    rows = text(check_rows(fold(RunSummary(), told), 100))
    assert rows[0].startswith("✗ fail 2  ! warn 1  look at ratio first")
    (kl,) = [row for row in rows if " kl " in row]
    assert kl.endswith("✓1 ✗9")


def test_where_all_is_well_nothing_is_to_be_looked_at() -> None:
    assert text(check_rows(fold(RunSummary(), [light("kl", 1, "ok")]), 100))[0] == "✓ ok 1"


def test_of_a_light_that_turns_often_the_newest_turns_are_shown() -> None:
    turns: list[CheckStatus] = ["ok", "warn"]
    told = [light("kl", step, turns[step % 2]) for step in range(1000, 1100)]
    row = next(row for row in text(check_rows(fold(RunSummary(), told), 80)) if row.startswith("! warn   kl "))
    assert row.endswith("!1099") and len(row) <= 80 and "…" not in row


def test_an_alert_is_shown_whole_with_its_figures() -> None:
    alert = Alert(
        severity="error", code="oom", message="too much", advice="less", phase="update", figures={"peak": 8.0}
    )
    page = "\n".join(text(alert_page(alert, 60)))
    assert all(part in page for part in ("oom", "too much", "→ less", "in update", "peak 8"))


def test_enter_on_an_alert_goes_to_its_step_in_the_charts(tmp_path: Path) -> None:
    directory = write_record(tmp_path, "alerted")
    updates = [event for step in range(1, 10) for event in ppo_update(step)]
    old = Alert(severity="warning", code="old_one", message="first", step=2, time=BEGAN + 2)
    new = Alert(severity="error", code="new_one", message="second", step=7, time=BEGAN + 7)
    append_events(directory, [Started(plugin="ppo", total_steps=9), *updates, old, new])
    shim = Alert(severity="error", code="stalled", message="no heartbeat", time=BEGAN + 4.5)
    append(directory, "alerts.jsonl", encode_line(shim))

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "step 9/9")
        await pilot.press("5")
        lines = await shown(pilot, "3 alerts", "new_one", "old_one", "stalled")
        rows = [next(y for y, line in enumerate(lines) if code in line) for code in ("new_one", "stalled", "old_one")]
        assert rows == sorted(rows), "the newest comes first"
        assert "step 4" in lines[rows[1]], "the shim knows no steps, but when it was"
        await pilot.press("down", "enter")
        await shown(pilot, "Reward (points)", "score_mean 0.400", "┊")

    drive(tmp_path, script, run="alerted")


def test_memory_of_a_device_is_never_mixed_with_that_of_the_process() -> None:
    phases = [
        PhaseEnded(name="update", seconds=1.0, memory={"rss": 900, "peak": 50}, step=0, time=1.0),
        PhaseEnded(name="checkpoint", seconds=1.0, memory={"rss": 900}, step=0, time=2.0),
    ]
    assert list(fold(RunSummary(), phases).memory.values) == [50.0]
