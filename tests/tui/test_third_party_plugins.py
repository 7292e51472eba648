"""Somebody's plugin in the console: its charts, headline and columns of samples; and once it hangs, or is gone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from driving import drive, screen_lines, shown
from recorded import write_healthy
from rlhf_console.headlines import Declared, declared
from rlhf_console.new_plugin import write_plugin
from rlhf_console.tui import declarations
from rlhf_sdk import launch
from rlhf_sdk.contract.project import import_path, read_project

FROM_METRICS = "charts by metric name"


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The plugin `words`, installed for this process and its children; `undo` removes it."""
    write_plugin("words", tmp_path)
    declared.cache_clear()
    with import_path(read_project(tmp_path / "words")) as folders, pytest.MonkeyPatch.context() as installed:
        for folder in folders:
            installed.syspath_prepend(folder)
        installed.setenv("PYTHONPATH", os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")]))
        yield installed
    declared.cache_clear()


def test_a_plugin_brings_charts_and_headline_and_leaves_its_runs_readable(
    tmp_path: Path, words: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "runs"
    run = launch.create_run(root, plugin="words", config={"steps": 8})
    launch.start(run)
    launch.wait(run)

    async def installed(pilot: Pilot[None]) -> None:
        await shown(pilot, "words", "reward 0.")
        await pilot.press("enter")
        lines = await shown(pilot, "Reward", "Entropy", "Loss")
        assert not any(FROM_METRICS in line for line in lines)
        await pilot.press("2")
        heading = next(line for line in await shown(pilot, " adv ") if " adv " in line)
        assert "score" in heading and "KL nats" not in heading
        for view in "345678":
            await pilot.press(view)
            await pilot.pause(0.6)
        await shown(pilot, "Result")

    async def gone(pilot: Pilot[None]) -> None:
        await shown(pilot, "policy", "reward", "loss", f"{FROM_METRICS}: unknown plugin 'words'")
        await pilot.press("2")
        await shown(pilot, "Say a word.")

    drive(root, installed)
    words.undo()
    declared.cache_clear()
    drive(root, gone, run="latest", size=(200, 40))


def test_a_run_is_shown_while_its_plugin_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_healthy(tmp_path, plugin="asleep")

    def hangs(plugin: str) -> Declared:
        time.sleep(60)
        return Declared()

    monkeypatch.setattr(declarations, "declared", hangs)

    async def look(pilot: Pilot[None]) -> None:
        lines = await shown(pilot, "reward", "policy", f"{FROM_METRICS}: the plugin has not answered yet")
        assert lines == screen_lines(pilot)

    began = time.monotonic()
    drive(tmp_path, look, run="ppo-healthy")
    assert time.monotonic() - began < 30, "somebody waited for the plugin"
