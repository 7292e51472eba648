"""Plugins that break, hang, lie about their types or are gone: rows with a cause, and nobody waits for them."""

from __future__ import annotations

import os
import time
from importlib.metadata import EntryPoints
from pathlib import Path

import pytest

from rlhf_console import plugins
from rlhf_console.headlines import Declared, declared
from rlhf_sdk.discovery import installed_plugins
from rlhf_sdk.spec import Panel, SampleColumn

DECLARED = """
import os
import time
from msgspec import Struct
from rlhf_sdk.discovery import installed_plugins
from rlhf_sdk.spec import Panel, PluginSpec, SampleColumn

class Config(Struct): steps: int = 3

def spec(**fields): return PluginSpec(**({"summary": "", "config": Config, "trainer": "nowhere:Trainer"} | fields))
"""
MODULES = {
    "raises": "raise ImportError('libcuda is missing')",
    "exits": "import os; os._exit(7)",
    "interrupts": "raise KeyboardInterrupt",
    "hangs": "import time; time.sleep(60)",
    "answers_for_itself": DECLARED + "import atexit, os; os.write(1, b'[1]'); atexit.register(os.write, 1, b'{}')\n"
    "plugin = spec(name='answers_for_itself', summary='harmless')",
    "no_spec": "plugin = 5",
    "text_for_a_list": DECLARED + "plugin = spec(name='text_for_a_list', headline='reward')",
    "panel_of_numbers": DECLARED + "plugin = spec(name='panel_of_numbers', panels=[Panel('a', [1])])",
    "no_struct": DECLARED + "plugin = spec(name='no_struct', config=dict)",
    "whole": DECLARED + "plugin = spec(name='whole', panels=[Panel('Loss', ['loss'], 'nats')], headline=['loss'],\n"
    "  sample_columns=[SampleColumn('score', 'score')])",
}
CAUSES = {
    "raises": "ImportError: libcuda is missing",
    "exits": "`describe` ended with 7",
    "interrupts": "KeyboardInterrupt",
    "hangs": "no answer to `describe` within 5 s",
    "no_spec": "is a int, not a PluginSpec",
    "text_for_a_list": "Expected `array`, got `str` - at `$.headline`",
    "panel_of_numbers": "Expected `str`, got `int` - at `$.panels[0].metrics[0]`",
    "no_struct": "config is dict, not a msgspec.Struct",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A distribution with all of them."""
    site = tmp_path_factory.mktemp("site")
    metadata = site / "broken-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    points = "".join(f"{name} = {name}_plugin:plugin\n" for name in MODULES)
    (metadata / "entry_points.txt").write_text("[rlhf.trainers]\n" + points)
    (metadata / "RECORD").write_text("".join(f"{name}_plugin.py,,\n" for name in MODULES))
    for name, code in MODULES.items():
        (site / f"{name}_plugin.py").write_text(code)
    return site


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """No other plugins are listed."""
    found = EntryPoints(point for name, point in installed_plugins().items() if name in names)
    monkeypatch.setattr("rlhf_console.plugins.entry_points_of_plugins", lambda: found)


@pytest.fixture
def installed(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(plugins, "DESCRIBE_SECONDS", 5.0)
    only(monkeypatch, *MODULES)


@pytest.mark.usefixtures("installed")
def test_each_broken_plugin_is_a_row_with_its_cause() -> None:
    rows = {row.name: row for row in plugins.list_plugins()}
    assert list(rows) == sorted(MODULES)
    unexplained = {name: rows[name].problem for name, cause in CAUSES.items() if cause not in rows[name].problem}
    assert unexplained == {}
    assert {name for name, row in rows.items() if row.state == "ok"} == {"whole", "answers_for_itself"}
    assert rows["answers_for_itself"].summary == "harmless"


@pytest.mark.usefixtures("installed")
def test_nobody_waits_for_one_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "hangs", "whole", "no_spec", "raises")
    assert [row.name for row in plugins.each_plugin()][-1] == "hangs"


@pytest.mark.usefixtures("installed")
def test_declarations_reach_the_console_as_they_are(tmp_path: Path) -> None:
    whole = Declared(("loss",), (Panel("Loss", ["loss"], "nats"),), (SampleColumn("score", "score"),))
    declared.cache_clear()
    assert declared("whole") == whole
    assert "not a PluginSpec" in declared("no_spec").problem


@pytest.mark.usefixtures("installed")
def test_a_damaged_cache_is_asked_anew(tmp_path: Path) -> None:
    first = plugins.describe("whole")
    (file,) = (tmp_path / "rlhf" / "describe").glob("whole-*.json")
    written = time.time_ns()
    for damaged in (b"\xff\xfe", b"[1, 2]", b'{"half": '):
        file.write_bytes(damaged)
        assert plugins.describe("whole") == first
    assert file.stat().st_mtime_ns > written
