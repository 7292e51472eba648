"""The launch list is there at once; a plugin that turns out to be broken becomes a row with its cause."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from textual.pilot import Pilot

from driving import drive, screen_lines, shown
from rlhf_console import plugins
from rlhf_console.plugins import Plugin
from rlhf_sdk.contract.project import Project, import_path
from rlhf_sdk.discovery import installed_plugins


def test_a_broken_plugin_has_its_cause_and_one_that_hangs_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, never = Event(), Event()

    def answers() -> Iterator[Plugin]:
        yield Plugin("echo", "", "", state="broken", problem="ImportError: no \x1b[31mcuda")
        yield Plugin("dpo", "", "", summary="one line about it")
        asked.set()
        never.wait(20)

    monkeypatch.setattr(plugins, "each_plugin", answers)
    monkeypatch.setattr("rlhf_console.runs.launching.list_profiles", dict)

    async def look(pilot: Pilot[None]) -> None:
        await pilot.press("l")
        await shown(pilot, "✗ ImportError: no \\x1b[31mcuda", "dpo  one line about it")
        assert asked.is_set()
        await pilot.press(*["down"] * [*sorted(installed_plugins())].index("echo"), "enter")
        await pilot.pause(0.5)
        lines = screen_lines(pilot)
        assert lines[0].startswith("ImportError: no \\x1b[31mcuda")

    began = time.monotonic()
    drive(tmp_path, look, size=(80, 24))
    assert time.monotonic() - began < 20, "the console waited for a plugin at its end"


def test_quitting_ends_a_plugin_that_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of `describe` is a real one, and its plugin hangs while it is imported."""
    (tmp_path / "sleeper.py").write_text("import time; time.sleep(50)")
    project = Project("sleeper", "1", tmp_path, {"sleeper": "sleeper:plugin"})

    async def open_it_and_quit(pilot: Pilot[None]) -> None:
        listed = sorted(set(installed_plugins()) - {"pipeline"})
        await pilot.press("l", *["down"] * listed.index("sleeper"), "enter")
        await shown(pilot, "sleeper", "resolving ...")

    monkeypatch.setattr("rlhf_console.runs.launching.list_profiles", dict)
    with import_path(project) as folders:
        for folder in folders:
            monkeypatch.syspath_prepend(folder)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")]))
        began = time.monotonic()
        drive(tmp_path / "runs", open_it_and_quit, size=(80, 24))
    assert time.monotonic() - began < plugins.DESCRIBE_SECONDS
