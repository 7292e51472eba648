"""Every screen at three sizes and in two themes, as it was when last looked at: `make snapshots` renews."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from textual.pilot import Pilot

from driving import drive
from recorded import BEGAN, write_healthy, write_pipeline
from recorded_runs import write_crash, write_kl_explosion, write_out_of_memory, write_paused
from rlhf_console.runs.launching import Choice
from rlhf_console.tui.screens.run import VIEWS
from snapshots import check, snapshot, still_clock

SIZES = [(80, 24), (120, 40), (200, 55)]
NEWEST_FIRST = (
    "ppo-paused", "ppo-explosion", "ppo-oom", "ppo-crash", "ppo-healthy", "demo.ppo", "demo.sft", "demo",
)  # fmt: skip
THEMES = ["dark", "light"]
NOW = BEGAN + 7200
KNOWN = ("12/50", "40/200", "26/26", "9/100", "7/20", "reward 0.161", "loss 0.250")
"""What stands in the list when every run has been read."""

VIEW_SHOWS = {
    "charts": "KL to the SFT policy", "samples": "update 40", "memory": "forecast: no rising trend",
    "checks": "kl_level", "alerts": "kl_high", "logs": "Logs", "config": "set since", "result": "no result",
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Runs of every kind, at a moment that never changes, on a machine that has nothing of its own."""
    with still_clock(monkeypatch, tmp_path, NOW):
        monkeypatch.setattr("rlhf_console.plugins.plan", lambda *_: [])
        monkeypatch.setattr("rlhf_console.tui.screens.launch.with_answers", lambda _: iter(()))
        choices = [Choice("echo", ""), Choice("ppo", "demo")]
        monkeypatch.setattr("rlhf_console.tui.screens.launch.choices", lambda: choices)
        yield written(Path("runs"))


def written(runs: Path) -> Path:
    write_healthy(runs, created=BEGAN)
    for write in (write_kl_explosion, write_out_of_memory, write_crash, write_paused):
        write(runs)
    write_pipeline(runs)
    for place, name in enumerate(NEWEST_FIRST):
        set_created(runs / name, BEGAN - 600 * place)
    for heartbeat in runs.glob("*/heartbeat"):
        os.utime(heartbeat, (NOW, NOW))
    return runs


def set_created(directory: Path, moment: float) -> None:
    record = directory / "run.json"
    record.write_bytes(msgspec.json.encode(msgspec.json.decode(record.read_bytes()) | {"created": moment}))


class Tour:
    """Goes from screen to screen, and gathers what differs from before."""

    def __init__(self, pilot: Pilot[None], size: tuple[int, int]) -> None:
        self._pilot, self._folder = pilot, f"{size[0]}x{size[1]}"
        self.differences: list[str] = []

    async def look(self, name: str, *wanted: str) -> None:
        self.differences += check(f"{self._folder}/{name}", await snapshot(self._pilot, THEMES, *wanted))

    async def go(self, *keys: str) -> None:
        await self._pilot.press(*keys)
        await self._pilot.pause()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_no_screen_has_changed_unseen(root: Path, size: tuple[int, int]) -> None:
    async def script(pilot: Pilot[None]) -> None:
        tour = Tour(pilot, size)
        await tour.look("runs", *KNOWN)
        await tour.go("ctrl+o")
        await tour.look("jump")
        await tour.go("escape", "?")
        await tour.look("keys", "Pause/Resume")
        await tour.go("escape", "l")
        await tour.look("launch", "echo")
        await tour.go("enter")
        await tour.look("form", "has no memory plan", "allowed: text")
        await tour.go("escape", "escape", *find(pilot, "ppo-paused"), "x")
        await tour.look("confirm", "Stop ppo-paused?")
        await tour.go("n", "e")
        await tour.look("set-value", "peak learning rate")
        await tour.go("escape", *find(pilot, "ppo-explosion"), "enter")
        for number, name in enumerate(VIEWS, 1):
            await tour.go(str(number))
            await tour.look(f"run-{name}", "step 40/200", VIEW_SHOWS[name])
        await tour.go("d")
        await tour.look("compare", "+0.7")
        assert not tour.differences, "\n".join([*tour.differences, "if it is meant: make snapshots"])

    drive(root, script, size=size)


def find(pilot: Pilot[None], run: str) -> list[str]:
    """The keys that put the cursor of the list on a run."""
    runs = pilot.app.screen_stack[1].query_one("#runs")
    ids = [item.record.id for item in runs._items]  # type: ignore[attr-defined]
    return ["home", *["down"] * ids.index(run)]
