"""What a call of the command line imports, and that the table of verbs says what the verbs say."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from rlhf_console.cli.catalogue import plugins
from rlhf_console.cli.verbs import VERBS, load_verb
from rlhf_sdk import discovery
from rlhf_sdk.launching import finding

IMPORTED = """
import json, sys
sys.argv = ["rlhf", *{arguments}]
from rlhf_console.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps([name for name in sys.modules if not name.startswith("_")]), file=sys.stderr)
"""


def imported_by(*arguments: str) -> set[str]:
    code = IMPORTED.format(arguments=list(arguments))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_help_imports_no_verb() -> None:
    modules = imported_by("--help")
    ours = {name for name in modules if name.startswith("rlhf_")}
    assert ours == {
        "rlhf_console", "rlhf_console.cli", "rlhf_console.cli.main", "rlhf_console.cli.verbs",
        "rlhf_console.printable", "rlhf_sdk", "rlhf_sdk.exit_codes", "rlhf_sdk.files",
    }  # fmt: skip
    assert modules & {"msgspec", "psutil", "pynvml", "pydantic", "rich"} == set()


@pytest.mark.parametrize("verb", ["ls", "profiles", "plugins"])
def test_a_verb_imports_its_own_module_and_no_library_that_it_does_not_need(verb: str, tmp_path: Path) -> None:
    rest = ["--runs", str(tmp_path)] if verb != "profiles" else []
    modules = imported_by(verb, *rest)
    others = {f"rlhf_console.cli.{each.target.partition(':')[0]}" for each in VERBS.values()}
    own = f"rlhf_console.cli.{VERBS[verb].target.partition(':')[0]}"
    assert modules & others == {own}
    assert modules & {"pynvml", "psutil", "pydantic", "rich", "textual"} == set()


def test_plugins_and_launchers_are_looked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking through all packages takes as long as a third of the imports."""
    calls: Counter[str] = Counter()

    def counted(group: str) -> Any:
        calls[group] += 1
        return metadata.entry_points(group=group)

    monkeypatch.setattr(discovery, "entry_points", counted)
    monkeypatch.setattr(finding, "entry_points", counted)
    plugins(str(tmp_path))
    assert calls == {discovery.GROUP: 1, finding.GROUP: 1}


@pytest.mark.parametrize("name", VERBS)
def test_help_says_the_first_sentence_of_the_verb(name: str) -> None:
    said = " ".join(inspect.cleandoc(load_verb(name).help or "").split())
    assert said.startswith(VERBS[name].summary)
    assert len(said) == len(VERBS[name].summary) or said[len(VERBS[name].summary)] == " "
