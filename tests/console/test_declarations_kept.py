"""What a plugin declares is asked once, and again as soon as a file changes that it was read from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from rlhf_console import plugins
from rlhf_sdk.trainer import UserError

SPEC = """
from msgspec import Struct
from declared_elsewhere import SUMMARY
from rlhf_sdk.spec import PluginSpec

class Config(Struct): steps: int = 3

plugin = PluginSpec(name="{name}", summary=SUMMARY, config=Config, trainer="nowhere:Trainer")
"""


@pytest.fixture
def editable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plugin whose distribution lists none of its modules, as an editable install does."""
    metadata = tmp_path / "site" / "kept-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: kept\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[rlhf.trainers]\nkept = kept_plugin:plugin\n")
    (metadata / "RECORD").write_text("__editable__.kept.pth,,\n")
    source = tmp_path / "source"
    source.mkdir()
    (source / "kept_plugin.py").write_text(SPEC.format(name="kept"))
    (source / "declared_elsewhere.py").write_text("SUMMARY = 'first'\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    before = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, [tmp_path / "site", source, before])))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return source


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of those that were asked in a process of their own."""
    names, ask = list[str](), plugins._ask

    def counted(name: str, **rest: Any) -> dict[str, Any]:
        names.append(name)
        return ask(name, **rest)

    monkeypatch.setattr(plugins, "_ask", counted)
    return names


def test_a_plugin_is_asked_once_until_a_module_that_it_imports_changes(editable: Path, asked: list[str]) -> None:
    first = plugins.describe("kept")
    assert plugins.describe("kept") == first and asked == ["kept"] and first["summary"] == "first"
    (editable / "declared_elsewhere.py").write_text("SUMMARY = 'another'\n")
    assert plugins.describe("kept")["summary"] == "another" and asked == ["kept"] * 2
    assert plugins.describe("kept")["summary"] == "another" and asked == ["kept"] * 2


def test_another_path_of_modules_is_another_plugin(
    editable: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plugins.describe("kept")
    before = tmp_path / "before"
    before.mkdir()
    (before / "declared_elsewhere.py").write_text("SUMMARY = 'before'\n")
    monkeypatch.setenv("PYTHONPATH", str(before), prepend=os.pathsep)
    assert plugins.describe("kept")["summary"] == "before" and asked == ["kept"] * 2


def test_a_module_that_is_gone_is_noticed(editable: Path, asked: list[str]) -> None:
    plugins.describe("kept")
    (editable / "declared_elsewhere.py").unlink()
    with pytest.raises(UserError, match="declared_elsewhere"):
        plugins.describe("kept")
