"""The documents say what the code does: generated pages are current, and nothing that users meet is left out."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from msgspec import inspect

from rlhf_sdk import commands, events
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.run_record import ExitRecord, RunRecord, RunStatus
from rlhf_sdk.states import State

CHECKOUT = Path(__file__).parents[3]
DOCS = CHECKOUT / "docs"
PAGES = [CHECKOUT / "README.md", CHECKOUT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["options.md", "commands.md", "checks.md", "performance.md", "scaling_on_paper.md"])
def test_generated_pages_are_current(page: str) -> None:
    assert (DOCS / page).read_text() == generator().PAGES[page](), "run `make docs`"


def test_every_kind_of_event_is_described() -> None:
    section = (DOCS / "run_directory.md").read_text().partition("## events.jsonl")[2]
    members = inspect.type_info(events.AnyEvent).types  # type: ignore[attr-defined]
    common = {field.encode_name for field in inspect.type_info(events.Event).fields}  # type: ignore[attr-defined]
    for member in members:
        line = next((line for line in section.splitlines() if line.startswith(f"| `{member.tag}` ")), "")
        named = {field.encode_name for field in member.fields} - common
        assert named <= set(re.findall(r"`(\w+)`", line)), f"{member.tag}: {line or 'no line'}"


def test_every_command_is_described() -> None:
    page = (DOCS / "run_directory.md").read_text()
    for member in inspect.type_info(commands.AnyCommand).types:  # type: ignore[attr-defined]
        assert f"`{member.tag}`" in page


@pytest.mark.parametrize("record", [RunRecord, RunStatus, ExitRecord])
def test_every_key_of_the_records_is_described(record: type) -> None:
    page = (DOCS / "run_directory.md").read_text()
    keys = {field.encode_name for field in inspect.type_info(record).fields}  # type: ignore[attr-defined]
    assert {key for key in keys if f"`{key}`" not in page} == set()


def test_every_state_and_exit_code_is_described() -> None:
    page = (DOCS / "run_directory.md").read_text()
    assert [state for state in State if f"`{state}`" not in page] == []
    codes = (DOCS / "exit_codes.md").read_text()
    assert [code for code in ExitCode if f"| {code.value} |" not in codes] == []


def test_every_profile_is_described() -> None:
    page = (DOCS / "profiles.md").read_text()
    names = {path.stem for path in (CHECKOUT / "profiles").glob("*.toml")}
    described = {
        name for cell in re.findall(r"^\| (`[^|]*) \|", page, re.MULTILINE) for name in re.findall(r"`([^`]+)`", cell)
    }
    assert names - described == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_mentioned_verb_exists(page: Path) -> None:
    verbs = set(re.findall(r"^## rlhf (\w+)$", generator().commands_page(), flags=re.MULTILINE))
    mentioned = set(re.findall(r"`rlhf (\w+)", page.read_text()))
    assert mentioned <= verbs


def tree_entries() -> list[str]:
    """Paths of the tree in the README, from its indentation."""
    block = re.search(r"```\n(rlhf_engine/.*?)```", (CHECKOUT / "README.md").read_text(), flags=re.DOTALL)
    assert block is not None
    folders: list[str] = []
    entries = []
    for line in block[1].splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        folders[depth:] = [name.rstrip("/")]
        entries.append("/".join(folders))
    return entries


def test_the_readmes_tree_is_the_checkouts() -> None:
    entries = set(tree_entries())
    leaves = {entry for entry in entries if not any(other.startswith(f"{entry}/") for other in entries)}
    assert {entry for entry in entries if not (CHECKOUT / entry).exists()} == set()
    for root in ("rlhf_engine", "plugins", "console", "benchmarks"):
        for path in (CHECKOUT / root).rglob("*.py"):
            place = path.relative_to(CHECKOUT)
            if path.name != "__init__.py":
                covering = {str(place), *map(str, place.parents)}
                assert covering & leaves, f"{place} is not in the README's tree"
