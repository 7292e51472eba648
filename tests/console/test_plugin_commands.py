"""`rlhf plugin new` writes a plugin that works, and `rlhf plugin check` says what is wrong with one that doesn't."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlhf_console.new_plugin import module_name, write_plugin
from rlhf_sdk.contract.kit import RULES
from rlhf_sdk.trainer import UserError


def rlhf(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "rlhf_console", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def broken(folder: Path, before: str, after: str) -> None:
    """Another line in the new plugin's trainer."""
    (trainer,) = folder.glob("*/trainer.py")
    assert before in trainer.read_text()
    trainer.write_text(trainer.read_text().replace(before, after))


def test_a_new_plugin_keeps_the_contract(tmp_path: Path) -> None:
    made = rlhf("plugin", "new", "my-words", "--into", "sub", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "rlhf plugin check sub/my-words" in made.stdout and "rlhf run my-words" in made.stdout
    files = {str(path.relative_to(tmp_path / "sub/my-words")) for path in (tmp_path / "sub").rglob("*.*")}
    assert {"pyproject.toml", "README.md", "my_words/__init__.py", "my_words/trainer.py"} < files
    assert not any("example" in path.read_text() for path in (tmp_path / "sub").rglob("*.*") if path.is_file())
    checked = rlhf("plugin", "check", "sub/my-words", "--json", cwd=tmp_path)
    found: list[dict[str, Any]] = json.loads(checked.stdout)
    assert checked.returncode == 0, checked.stdout
    assert [finding["rule"] for finding in found] == list(RULES)
    assert {finding["rule"]: finding for finding in found if finding["state"] != "pass"}.keys() == {"memory_plan"}


def test_its_own_test_passes_until_it_breaks_the_contract(tmp_path: Path) -> None:
    write_plugin("words", tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "words/tests"]
    environment = {**os.environ, "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    passed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert passed.returncode == 0, passed.stdout
    broken(tmp_path / "words", 'self.steps_done, self.logits = state["steps_done"], state["logits"]', "pass")
    failed = rlhf("plugin", "check", "words", "--rule", "kill", "--rule", "pause", cwd=tmp_path)
    assert failed.returncode == 3
    lines = failed.stdout.splitlines()
    assert lines[0] == "words" and lines[1].startswith("fail     kill            ")
    assert any(line.strip().startswith("what to do: save and load everything") for line in lines)
    assert lines[-1] == "1 pass, 0 warn, 1 fail, 0 skipped"


def test_settings_and_mistakes(tmp_path: Path) -> None:
    write_plugin("words", tmp_path)
    checked = rlhf("plugin", "check", "words", "--rule", "runs", "--set", "words.steps=9", cwd=tmp_path)
    assert checked.stdout.splitlines()[1] == "pass     runs            9 steps"
    wrong = rlhf("plugin", "check", "words", "--rule", "config_type", "--set", "words.stps=9", cwd=tmp_path)
    assert wrong.returncode == 3 and "unknown key 'stps'. Did you mean 'steps'?" in wrong.stdout
    refused = rlhf("plugin", "check", "words", "--set", "word.steps=9", cwd=tmp_path)
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert "no stage 'word'; there is words. Did you mean 'words'?" in refused.stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("My Plugin", "small letters and digits"),
        ("../up", "small letters and digits"),
        ("a" * 41, "at most 40"),
        ("echo", "there is a plugin 'echo' already"),
        ("json", "a Python module is called 'json' already"),
        ("class", "a Python module is called 'class' already"),
        ("rlhf-sdk", "a Python module is called 'rlhf_sdk' already"),
    ],
)
def test_names_that_can_not_be_used(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        module_name(name)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="is there already"):
        write_plugin("words", tmp_path)
    assert [path.name for path in (tmp_path / "words").iterdir()] == ["thesis.txt"]
