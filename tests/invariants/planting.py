"""Plants a defect in the engine, for the life of a process, and runs one test on it.

A process of its own for each defect: forked off a server that has the engine imported and has never run a test, so
that it costs little and no thread of another test is alive in it.
"""

from __future__ import annotations
import __future__

import inspect
import multiprocessing
import os
import sys
import textwrap
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[2]
ALL_PASSED, SOME_FAILED = int(pytest.ExitCode.OK), int(pytest.ExitCode.TESTS_FAILED)
NOT_PLANTED = 64
"""Exit code of a process whose defect has no place in the engine any more."""
IMPORTED_BY_THE_SERVER = [
    "hypothesis",
    "pytest",
    "transformers.models.gpt2.modeling_gpt2",
    "transformers.models.gpt_neox.modeling_gpt_neox",
    "transformers.models.llama.modeling_llama",
    "rlhf_engine.checks.online",
    "rlhf_engine.critic_free",
    "rlhf_engine.layouts",
    "rlhf_engine.preference_training",
    "rlhf_engine.sft",
]


@dataclass(frozen=True)
class Defect:
    """In the source of `place` (module.function, or module.class.function), `right` is replaced by `wrong`.

    `caught_by` is the test that fails, as a pytest node below tests/; where it fails by a sanity light that is not ok,
    `light` is the light's name.
    """

    name: str
    place: str
    right: str
    wrong: str
    caught_by: str
    light: str = ""


def plant(defect: Defect) -> None:
    """Compiles the function anew with the defect, and puts it wherever the engine and its plugins hold it.

    Raises LookupError unless the text to replace is there exactly once.
    """
    found: Any = resolve_name(defect.place)
    function: Any = found.fget if isinstance(found, property) else found
    function = inspect.unwrap(function)
    source = textwrap.dedent(inspect.getsource(function))
    if source.count(defect.right) != 1:
        raise LookupError(f"{defect.place} has {source.count(defect.right)} times {defect.right!r}")
    made: dict[str, Any] = {}
    flags = __future__.annotations.compiler_flag
    exec(compile(source.replace(defect.right, defect.wrong), defect.name, "exec", flags), function.__globals__, made)
    owner, _, name = defect.place.rpartition(".")
    if inspect.isclass(resolve_name(owner)):
        setattr(resolve_name(owner), name, made[name])
    else:
        replace(found, made[name])


def replace(function: Any, by: Any) -> None:
    """Puts `by` in the place of `function` wherever a module holds it: by name, or in a table."""
    for path, module in list(sys.modules.items()):
        if path.startswith(("rlhf_engine", "rlhf_plugins")):
            for name, held in list(vars(module).items()):
                if held is function:
                    setattr(module, name, by)
                elif isinstance(held, dict):
                    held.update({key: by for key, value in held.items() if value is function})


def run(defect: Defect | None, nodes: Sequence[str], log: Path) -> tuple[int, str]:
    """Exit code and output of pytest on `nodes`, with the defect or without any."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED_BY_THE_SERVER)
    process = context.Process(target=_in_child, args=(defect, nodes, str(log)))
    process.start()
    process.join()
    return int(process.exitcode or 0), log.read_text()


def _in_child(defect: Defect | None, nodes: Sequence[str], log: str) -> None:
    import torch

    torch.set_num_threads(1)
    file = os.open(log, os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(file, stream)
    if defect is not None:
        try:
            plant(defect)
        except Exception:
            traceback.print_exc()
            sys.exit(NOT_PLANTED)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.chdir(CHECKOUT)
    paths = [f"tests/{node}" for node in nodes]
    sys.exit(pytest.main([*paths, "-x", "--tb=short", "--durations=0", "-p", "no:cacheprovider", "-W", "ignore"]))
