"""A plugin that raises, exits, hangs or can't be loaded: the right exit code and one clear line."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from rlhf_sdk import launch
from rlhf_sdk.checkpoints import list_checkpoints
from rlhf_sdk.events import Alert, Finished, MetricsLogged, Note
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import ExitRecord
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError

Begin = Callable[..., RunDir]

pytestmark = pytest.mark.usefixtures("troubled")


def ended(run: RunDir) -> ExitRecord:
    verdict = launch.wait(run)
    assert verdict is not None
    return verdict


OUTCOMES = [
    ("raises", State.FAILED, 3, "the plugin failed in update: ValueError: the shapes don't match"),
    ("users_mistake", State.FAILED, 2, "data.jsonl row 3: null text"),
    ("diverges", State.FAILED, 4, "the loss is nan"),
    ("out_of_memory", State.OOM, 5, "out of memory in rollout: RuntimeError: the device is full"),
    ("exits", State.FAILED, 3, "the plugin failed: SystemExit: 0"),
    ("exits_at_once", State.FAILED, 3, "the worker exited with code 0 without saying why"),
    ("exits_with_7", State.FAILED, 7, "the worker exited with code 7 without saying why"),
    ("killed", State.KILLED, 137, "killed by SIGKILL"),
    ("segfault", State.KILLED, 139, "killed by SIGSEGV"),
    ("interrupts", State.STOPPED, 143, "a stage was stopped"),
]


@pytest.mark.parametrize(("trouble", "state", "code", "reason"), OUTCOMES, ids=[row[0] for row in OUTCOMES])
def test_every_kind_of_end(begin: Begin, trouble: str, state: State, code: int, reason: str) -> None:
    run = begin("troubled", trouble=trouble)
    verdict = ended(run)
    assert (verdict.state, verdict.exit_code) == (state, code)
    assert verdict.reason.startswith(reason) and "\n" not in verdict.reason
    assert [path.name for path in list_checkpoints(run.checkpoints)] == ["step-00000001"]
    assert ("Traceback" in run.log.read_text()) == (trouble in ("raises", "exits", "out_of_memory"))
    last = run.last_events(1)[0]
    if isinstance(last, Finished):
        assert (last.exit_code, last.reason) == (verdict.exit_code, verdict.reason)
        alerts = [event for event in run.events() if isinstance(event, Alert)]
        assert [alert.message for alert in alerts] == ([] if state is State.STOPPED else [verdict.reason])


def test_a_failed_run_can_be_resumed(begin: Begin) -> None:
    run = begin("troubled", trouble="killed")
    assert ended(run).attempt == 1
    launch.resume(run)
    assert (ended(run).attempt, ended(run).state) == (2, State.KILLED)


def test_a_metric_that_is_not_finite_is_recorded(begin: Begin) -> None:
    run = begin("troubled", steps=1)
    assert ended(run).exit_code == 0
    logged = next(event for event in run.events() if isinstance(event, MetricsLogged))
    assert logged.values["loss"] != logged.values["loss"]


def test_a_worker_that_hangs_ends_by_signal(begin: Begin) -> None:
    run = begin("troubled", trouble="hangs")
    launch.send_signal(run, signal.SIGKILL)
    assert ended(run).state is State.KILLED


def test_a_config_that_can_not_be_is_the_users_mistake(begin: Begin) -> None:
    run = begin("troubled", stepps=3)
    verdict = ended(run)
    assert (verdict.exit_code, verdict.reason) == (2, "unknown key 'stepps'. Did you mean 'steps'?")
    assert run.log.read_text().splitlines() == ["plugins may print while they are imported", verdict.reason]


@pytest.mark.parametrize(
    ("plugin", "code", "reason"),
    [
        ("not_a_spec", 2, "plugin 'not_a_spec': troubled_plugin:not_a_spec is a str, not a PluginSpec"),
        ("old_contract", 2, "plugin 'old_contract' speaks contract version 0; this version speaks 1"),
        ("unimportable", 3, "the plugin failed: ModuleNotFoundError: No module named 'nowhere_at_all'"),
    ],
)
def test_a_plugin_that_can_not_be_loaded(begin: Begin, plugin: str, code: int, reason: str) -> None:
    verdict = ended(begin(plugin))
    assert verdict.exit_code == code and verdict.reason.startswith(reason)


def test_an_unknown_plugin_leaves_nothing_behind(root: Path) -> None:
    with pytest.raises(UserError, match=r"unknown plugin 'troublde'.*Did you mean 'troubled'"):
        launch.create_run(root, plugin="troublde", config={})
    assert not root.exists()


@pytest.fixture
def small_files() -> object:
    """Files of this process's children may not grow beyond 1 MiB: what a quota does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_files")
def test_a_checkpoint_that_does_not_fit_leaves_the_last_good_one(begin: Begin, root: Path) -> None:
    run = begin("troubled", trouble="large_checkpoint")
    verdict = ended(run)
    assert verdict.exit_code == 2 and "File too large" in verdict.reason
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-00000001"]


@pytest.mark.usefixtures("small_files")
def test_a_line_that_does_not_fit_is_taken_back(begin: Begin) -> None:
    run = begin("troubled", trouble="long_line")
    verdict = ended(run)
    assert verdict.exit_code == 2 and "File too large" in verdict.reason
    assert not any(isinstance(event, Note) for event in run.events())
    assert isinstance(run.last_events(1)[0], Finished)
