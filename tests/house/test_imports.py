"""Who imports whom, at run time: each check in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ["torch", "transformers", "datasets", "tokenizers", "numpy", "sklearn", "textual", "anthropic"]
REPORT = "import json, sys; print(json.dumps(sorted(m for m in {modules} if m in sys.modules)), file=sys.stderr)"
CHECKOUT = Path(__file__).parents[2]


def modules_after(statement: str, candidates: list[str]) -> list[str]:
    """Which of `candidates` are imported once `statement` has run."""
    code = f"try:\n    {statement}\nexcept SystemExit as done:\n    assert not done.code, done.code\n"
    code += REPORT.format(modules=candidates)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stderr.splitlines()[-1])
    return found


def command_line(*arguments: str) -> str:
    return f"import sys; sys.argv = ['rlhf', *{list(arguments)!r}]; from rlhf_console.cli import main; main()"


@pytest.mark.parametrize("arguments", [["--help"], ["plugins"], ["run", "--help"], ["profiles"]])
def test_the_command_line_imports_nothing_heavy(arguments: list[str]) -> None:
    assert modules_after(command_line(*arguments), [*HEAVY, "rlhf_engine", "rlhf_plugins"]) == []


def test_the_console_imports_textual_and_nothing_heavier() -> None:
    modules = [path.stem for path in (CHECKOUT / "console" / "rlhf_console" / "tui").glob("[a-z]*.py")]
    statement = "; ".join(f"import rlhf_console.tui.{name}" for name in modules)
    assert modules_after(statement, [*HEAVY, "rlhf_engine", "rlhf_plugins"]) == ["textual"]


@pytest.mark.parametrize(
    "plugin", ["echo", "pretrain", "sft", "rm", "ppo", "eval", "pipeline", "plans", "pipeline_plan"]
)
def test_a_plugins_declaration_is_free_of_torch(plugin: str) -> None:
    assert modules_after(f"import rlhf_plugins.{plugin}", [*HEAVY, "rlhf_console"]) == []


@pytest.mark.parametrize(
    "module", ["config", "errors", "memory_plan", "layout_plan", "comparison_plan", "known_models"]
)
def test_the_engines_light_modules_are_free_of_torch(module: str) -> None:
    assert modules_after(f"import rlhf_engine.{module}", [*HEAVY, "rlhf_sdk", "rlhf_plugins", "rlhf_console"]) == []


def test_the_sdk_stands_alone() -> None:
    modules = [path.stem for path in (CHECKOUT / "plugins" / "rlhf_sdk").glob("[a-z]*.py")]
    statement = "; ".join(f"import rlhf_sdk.{name}" for name in modules)
    others = ["rich", "typer", "click", "rlhf_console", "rlhf_plugins", "rlhf_engine"]
    assert modules_after(statement, HEAVY + others) == []


def test_the_engine_knows_neither_console_nor_sdk() -> None:
    candidates = ["rlhf_sdk", "rlhf_plugins", "rlhf_console", "textual"]
    assert modules_after("import rlhf_engine.ppo", candidates) == []


def test_import_contracts_hold() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        capture_output=True, text=True, cwd=CHECKOUT, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_a_trainer_imports_no_library_that_only_others_need() -> None:
    """Each takes a worker up to a second to start, and up to 150 MB."""
    trainers = ("sft", "rm", "ppo", "critic_free", "preferences", "distil", "pretrain")
    statement = "; ".join(f"import rlhf_plugins.{name}.trainer" for name in trainers)
    others = ["datasets", "pandas", "sklearn", "nltk", "rouge_score", "peft", "anthropic"]
    assert modules_after(statement, others) == []
