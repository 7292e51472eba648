"""docs/writing_a_plugin.md is a plugin: what stands there is built with pip, installed, checked and run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlhf_console.new_plugin import write_plugin
from rlhf_sdk.contract.kit import RULES
from rlhf_sdk.spec import CheckRow

PAGE = (Path(__file__).parents[2] / "docs" / "writing_a_plugin.md").read_text()
BLOCK = re.compile(r"^`([\w/.]+)`[^\n]*:\n\n```\w+\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


def files_of_the_page() -> dict[str, str]:
    """The blocks that are introduced by a file's name, those of one file joined in their order."""
    parts: dict[str, list[str]] = defaultdict(list)
    for name, code in BLOCK.findall(PAGE):
        parts[name].append(code)
    return {name: "\n\n".join(codes) for name, codes in parts.items()}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of processes that find the page's plugin, installed from the page's own project."""
    folder, site = tmp_path_factory.mktemp("words"), tmp_path_factory.mktemp("site")
    for name, code in files_of_the_page().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(code)
    (folder / "README.md").write_text("")
    install = ["install", "--quiet", "--no-build-isolation", "--no-deps", "--no-index", "--target", str(site)]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *install, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "XDG_CACHE_HOME": str(site)}


def rlhf(environment: dict[str, str], *arguments: str) -> Any:
    command = [sys.executable, "-P", "-m", "rlhf_console", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_the_page_is_what_plugin_new_writes(tmp_path: Path) -> None:
    written = {str(path.relative_to(tmp_path / "words")): path.read_text() for path in write_plugin("words", tmp_path)}
    del written["README.md"]
    assert files_of_the_page() == written


def test_the_pages_plugin_is_found_and_keeps_the_contract(installed: dict[str, str]) -> None:
    assert "rewarded" in [option["key"] for option in rlhf(installed, "config", "words")]
    rules = ("declares", "panels", "samples", "stop_inside", "kill")
    findings = rlhf(installed, "plugin", "check", "words", *(f"--rule={rule}" for rule in rules))
    assert [(finding["rule"], finding["state"]) for finding in findings] == [(rule, "pass") for rule in rules]


def test_the_pages_plugin_learns(installed: dict[str, str], tmp_path: Path) -> None:
    run = rlhf(installed, "run", "words", "--runs", str(tmp_path))["run"]
    lines = (tmp_path / run / "events.jsonl").read_text().splitlines()
    rewards = [event["values"]["reward/mean"] for event in map(json.loads, lines) if event["kind"] == "metrics"]
    assert len(rewards) == 60
    assert sum(rewards[:10]) / 10 < 0.75 < 0.9 < sum(rewards[-10:]) / 10


def test_the_pages_check_yields_rows() -> None:
    (code,) = re.findall(r"^```python\n(def check.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"CheckRow": CheckRow}
    exec(code, names)
    request = SimpleNamespace(config=SimpleNamespace(text="five words are not many"))
    assert [(row.state, row.figure) for row in names["check"](request)] == [("ok", 5)]


def test_every_rule_stands_on_the_page() -> None:
    section = PAGE.partition("## 5. The contract")[2]
    assert dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", section, flags=re.MULTILINE)) == {
        name: rule.__doc__ for name, rule in RULES.items()
    }
