"""The form of a run in the making: choices from a list, plan, check, what differs, a run once more."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from driving import drive, screen_lines, shown
from recorded import write_record
from rlhf_console import plugins
from rlhf_console.again import Again
from rlhf_console.runs.launching import Choice, Draft, Entry, draft_again
from rlhf_console.tui.drawing.cells import Row
from rlhf_console.tui.drawing.form import check_row_rows, entry_row, shown_entries
from rlhf_console.tui.widgets.pick_list import PickList
from rlhf_sdk import launch
from rlhf_sdk.checkpoints import write_checkpoint
from rlhf_sdk.config_types import options
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_root import list_runs
from rlhf_sdk.spec import CheckRow


def text(row: Row) -> str:
    return "".join(character for character, _ in row)


def test_options_of_few_values_list_them() -> None:
    from rlhf_plugins.echo import EchoConfig

    found = {option.key: option.choices for option in options(EchoConfig)}
    assert found["steps"] == []
    described = {option["key"]: option["choices"] for option in plugins.describe("ppo")["options"]}
    assert described["optimizer.schedule"] == ["constant", "cosine", "linear"]
    assert described["model.init.tie_embeddings"] == [True, False]
    assert described["optimizer.lr"] == [] and described["model.path"] == []


def test_a_changed_value_says_what_it_was_until_it_is_put_back(tmp_path: Path) -> None:
    draft = Draft(Choice("echo", ""), tmp_path)
    steps = next(entry for entry in draft.entries() if entry.key == "echo.steps")
    changed = draft.with_value(steps, 3)
    again = changed.with_value(next(entry for entry in changed.entries() if entry.key == "echo.steps"), 4)
    first = again.entries()[0]
    assert (first.key, first.value, first.before, first.changed) == ("echo.steps", 4, 10, True)
    assert [entry.key for entry in shown_entries(again.entries(), "* step")] == ["echo.steps"]
    assert "* echo.steps" in text(entry_row(first, 80)) and "was 10" in text(entry_row(first, 80))
    assert again.without("echo.steps").request == draft.request


def test_a_check_is_a_row_and_what_to_do_below_it() -> None:
    good = CheckRow("one update", "ok", 0.5, "<= 1", meaning="seconds")
    bad = CheckRow("free disk", "fail", 3.0, ">= 10 GiB", meaning="GiB", advice="another --runs")
    (line,) = check_row_rows(good, 80)
    assert text(line).startswith("✓ ok      one update") and "0.500" in text(line)
    rows = [text(row) for row in check_row_rows(bad, 80)]
    assert rows[0].startswith("✗ fail    free disk") and "first look at: another --runs" in rows[1]


@pytest.fixture
def ppo_like(tmp_path: Path) -> RunDir:
    """A run of a plugin with choices, and a checkpoint with a model."""
    config = plugins.validate("sft", {"data": {"source": ["world"]}, "seed": 5, "tokenizer": {"train_vocab_size": 300}})
    run = RunDir(write_record(tmp_path, "sft-old", plugin="sft", config=config, provenance={"seed": "--seed"}))
    write_checkpoint(run.checkpoints, 5, lambda folder: (folder / "model").mkdir())
    return run


def of(entries: list[Entry], key: str) -> Entry:
    return next(entry for entry in entries if entry.key == key)


def test_a_run_once_more_is_a_form_with_its_config(ppo_like: RunDir) -> None:
    draft = draft_again(Again(ppo_like, "model", "step-00000005"), ppo_like.root)
    entries = draft.entries()
    assert (of(entries, "sft.seed").value, of(entries, "sft.seed").origin) == (5, "--seed")
    assert of(entries, "sft.model.path").value == "run:sft-old@step-00000005"


def test_a_choice_is_picked_and_the_plan_and_the_checks_are_pages(ppo_like: RunDir) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "sft-old")
        await pilot.press("L")
        await shown(pilot, "sft-old from the beginning", "sft-old again, from the model of step-00000005")
        await pilot.press("enter")
        await shown(pilot, "sft.seed", "The peak is")
        await pilot.press("slash", *"schedule", "enter", "enter")
        await shown(pilot, "constant", "linear")
        await pilot.press("home", "enter")
        await shown(pilot, "* sft.optimizer.schedule", "1 changed")
        await pilot.press("f6")
        await shown(pilot, "At the peak", "by role", "weights")
        await pilot.press("escape", "u")
        lines = await shown(pilot, "as it stands")
        assert "* sft" not in "".join(lines)
        await pilot.press("escape")
        await shown(pilot, "1 runs")
        assert isinstance(pilot.app.screen.query_one("#runs"), PickList)

    drive(ppo_like.root, script, size=(80, 24))


def test_checks_appear_as_they_are_found(ppo_like: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(draft: Draft) -> Iterator[CheckRow]:
        yield CheckRow("data", "ok", 12.0, ">= 1")
        yield CheckRow("memory", "warn", 3.0, "<= 2 GiB", advice="a smaller batch")

    monkeypatch.setattr(Draft, "check", check)

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "sft-old")
        await pilot.press("L", "enter")
        await shown(pilot, "The peak is")
        await pilot.press("f7")
        await shown(pilot, "✓ ok", "! warn", "first look at: a smaller batch", "0 failed")

    drive(ppo_like.root, script, size=(80, 24))


def test_a_fork_is_started_with_what_differs(tmp_path: Path) -> None:
    config = plugins.validate("echo", {"steps": 6, "checkpoint_every": 2, "keep_checkpoints": 9})
    run = launch.create_run(tmp_path, plugin="echo", config=config, name="old")
    launch.start(run)
    launch.wait(run)

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "✓ finished")
        await pilot.press("L", "down", "down")
        await shown(pilot, f"{run.id} from step-00000002 on")
        await pilot.press("enter")
        await shown(pilot, "echo.steps", "as it stands")
        await pilot.press("f5")
        await shown(pilot, "Start old-")
        await pilot.press("y")
        await shown(pilot, "2 runs", "← old-", "(fork)")

    drive(tmp_path, script)
    (fork,) = [each for each in list_runs(tmp_path) if each.id != run.id]
    launch.wait(fork)
    assert fork.record().parents == {"fork": run.id}
    steps = [event.step for event in fork.events() if type(event).__name__ == "MetricsLogged"]
    assert steps == [3, 4, 5, 6]


def test_readonly_launches_nothing(ppo_like: RunDir) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "sft-old")
        await pilot.press("L", "l", "t")
        await pilot.pause(0.2)
        assert "read only" in "".join(screen_lines(pilot)) and len(pilot.app.screen_stack) == 2

    drive(ppo_like.root, script, readonly=True)


def test_what_to_run_is_found_by_words(tmp_path: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "no runs yet")
        await pilot.press("l")
        await shown(pilot, "What to run", "pipeline")
        await pilot.press("slash", *"echo", "enter")
        lines = await shown(pilot, "echo")
        assert "pipeline" not in "".join(lines)
        await pilot.press("enter")
        await shown(pilot, "echo.steps", "f5 starts it")

    drive(tmp_path, script, size=(80, 24))
