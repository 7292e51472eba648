"""A run once more: relaunched, forked from a checkpoint, from a model; what is kept, what differs, what is refused."""

import json
import signal
import time
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from rlhf_console import plugins
from rlhf_console.again import Again, ways_of
from rlhf_console.cli.main import app
from rlhf_console.runs.fold import RunSummary, fold
from rlhf_sdk import launch
from rlhf_sdk.checkpoints import damage, latest_good, read_state, write_checkpoint
from rlhf_sdk.commands import SetValue
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import RunRecord, encode_record
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A finished run with checkpoints of steps 20 and 40, and its end; `weight` was set by hand before the first."""
    root = tmp_path_factory.mktemp("runs")
    config = plugins.validate(
        "echo", {"steps": 60, "checkpoint_every": 20, "keep_checkpoints": 9, "delay_seconds": 0.01, "seed": 7}
    )
    run = launch.create_run(root, plugin="echo", config=config, name="first", provenance={"steps": "profile quick"})
    launch.start(run)
    launch.request(run, SetValue(key="weight", value=2.0))
    launch.wait(run)
    return run


def again(run: RunDir, *arguments: str) -> tuple[int, str]:
    verb, *rest = arguments
    done = CliRunner().invoke(app, [verb, run.id, *rest, "--runs", str(run.root)])
    return done.exit_code, done.stderr + (str(done.exception) if done.exception else "")


def started(run: RunDir, *arguments: str) -> RunDir:
    code, said = again(run, *arguments)
    assert code == 0, said
    return RunDir(run.root / said.split()[1])


def summary(run: RunDir) -> RunSummary:
    return fold(RunSummary(), run.events())


def scores(run: RunDir, after: int = 0) -> list[float]:
    series = summary(run).metrics["echo/sum"]
    return [value for step, value in zip(series.steps, series.values, strict=True) if step > after]


def test_a_fork_goes_on_as_the_run_itself_did(echo: RunDir) -> None:
    before = sorted(path.name for path in echo.path.rglob("*"))
    fork = started(echo, "fork", "--at", "step-00000040")
    assert scores(fork) == scores(echo, after=40) and len(scores(fork)) == 20
    record = fork.record()
    assert record.parents == {"fork": echo.id} and record.config["weight"] == 2.0
    assert record.provenance["weight"] == f"set in {echo.id}" and record.provenance["steps"] == "profile quick"
    events = list(fork.events())
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert sorted(path.name for path in echo.path.rglob("*")) == before


def test_a_fork_may_differ_from_there_on(echo: RunDir) -> None:
    fork = started(echo, "fork", "--at", "step-00000020", "--set", "echo.steps=25", "--set", "echo.weight=0.5")
    record, said = fork.record(), summary(fork)
    assert said.total_steps == said.step == 25 and record.config["weight"] == 0.5
    assert record.provenance["weight"] == record.provenance["steps"] == "--set"
    assert scores(fork) != scores(echo, after=20)[:5]


def test_a_fork_is_resumed_with_what_was_set_in_it(echo: RunDir) -> None:
    chosen = Again(echo, "fork", "step-00000020")
    fork = chosen.create(chosen.request(["echo.delay_seconds=0.05"]), echo.root, [])
    (copied,) = fork.checkpoints.iterdir()
    state = read_state(copied)
    assert damage(copied) is None and (state.step, state.seq, state.sample_seq, state.attempt) == (20, 0, 0, 0)
    launch.start(fork)
    launch.request(fork, SetValue(key="weight", value=3.0))
    deadline = time.monotonic() + 30
    while not summary(fork).values_set and time.monotonic() < deadline:
        time.sleep(0.02)
    launch.send_signal(fork, signal.SIGKILL)
    launch.wait(fork)
    launch.resume(fork)
    launch.wait(fork)
    said = summary(fork)
    assert fork.state() is State.FINISHED and said.step == 60
    assert [value.value for value in said.values_set][-1] == 3.0


def test_a_relaunch_begins_from_the_beginning_and_says_what_differs(echo: RunDir) -> None:
    same = started(echo, "relaunch", "--set", "echo.delay_seconds=0.0")
    record = same.record()
    assert len(scores(same)) == 60 and record.parents == {} and record.name == "first"
    assert record.config == echo.record().config | {"delay_seconds": 0.0}
    assert record.provenance["delay_seconds"] == "--set" and record.provenance["steps"] == "profile quick"
    assert record.cwd == echo.record().cwd


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["fork"], "step-00000060 of {run} is the end of that run"),
        (["fork", "--at", "step-0000004"], "no checkpoint 'step-0000004'; there is step-00000020"),
        (["fork", "--at", "step-00000040", "--model-only"], "echo has no key 'model.path'"),
        (["relaunch", "--set", "echo.stepz=3"], "unknown key 'stepz'"),
        (["relaunch", "--set", "ppo.steps=3"], "no stage 'ppo'"),
    ],
)
def test_what_can_not_be_is_refused_and_leaves_nothing(echo: RunDir, arguments: list[str], wanted: str) -> None:
    before = list(echo.root.iterdir())
    code, said = again(echo, *arguments)
    assert code != 0 and wanted.format(run=echo.id) in said
    assert list(echo.root.iterdir()) == before


def test_a_damaged_checkpoint_is_not_forked(echo: RunDir, tmp_path: Path) -> None:
    copy = RunDir(tmp_path / "copy")
    copy.path.mkdir()
    copy.record_file.write_bytes(echo.record_file.read_bytes())
    saved = write_checkpoint(copy.checkpoints, 20, lambda folder: (folder / "worker.json").write_text("{}"))
    (saved / "worker.json").write_text("[]")
    with pytest.raises(UserError, match=r"worker\.json has other contents"):
        Again(copy, "fork", saved.name).request([])


def test_the_ways_are_the_beginning_and_the_checkpoints_something_is_left_after(echo: RunDir) -> None:
    ways = [(way.way, way.checkpoint) for way in ways_of(echo, echo.root)]
    assert ways == [("relaunch", ""), ("fork", "step-00000040"), ("fork", "step-00000020")]
    assert latest_good(echo.checkpoints)[0] is not None


def write_run(root: Path, run_id: str, plugin: str, config: dict[str, object], state: State | None = None) -> RunDir:
    run = RunDir(root / run_id)
    run.path.mkdir(parents=True)
    run.record_file.write_bytes(encode_record(RunRecord(id=run_id, plugin=plugin, config=config, created=1.0)))
    if state is not None:
        shim = {"pid": 1, "start": "0"}
        status = {"state": state, "attempt": 1, "started": 1, "time": 1, "host": "h", "boot_id": "", "shim": shim}
        verdict = {"state": state, "attempt": 1, "exit_code": 0, "time": 1}
        run.status_file.write_text(json.dumps(status))
        run.exit_file.write_text(json.dumps(verdict))
    return run


def test_a_pipeline_keeps_its_finished_stages(tmp_path: Path) -> None:
    first, second = plugins.validate("echo", {"steps": 3}), plugins.validate("echo", {"steps": 4})
    stages = {name: {"plugin": "echo", "config": config} for name, config in (("a", first), ("b", second))}
    pipeline = write_run(tmp_path, "pipe", "pipeline", plugins.validate("pipeline", {"stages": stages}))
    write_run(tmp_path, "pipe.a", "echo", first, State.FINISHED)
    anew, kept = ways_of(pipeline, tmp_path)
    assert (anew.reuse, kept.reuse) == ({}, {"a": "pipe.a"}) and "a as it was" in kept.name
    request = kept.request(["b.steps=9"])
    assert request.config["reuse"] == {"a": "pipe.a"} and request.config["stages"]["b"]["config"]["steps"] == 9
    assert request.provenance["stages.b.config.steps"] == "--set"
    with pytest.raises(UserError, match="is a pipeline: fork one of its stages"):
        Again(pipeline, "fork", "step-00000001").request([])


def test_a_model_is_the_beginning_of_a_run(tmp_path: Path) -> None:
    config = plugins.validate("sft", {"data": {"source": ["world"]}, "model": {"path": "gpt2"}})
    run = write_run(tmp_path, "sft", "sft", config)
    saved = write_checkpoint(run.checkpoints, 5, lambda folder: (folder / "model").mkdir())
    request = Again(run, "model", saved.name).request([])
    assert request.config["model"]["path"] == "run:sft@step-00000005"
    assert request.provenance["model.path"] == "model of sft"
    again = Again(run, "model", saved.name).create(request, tmp_path, [])
    assert again.record().parents == {"model.path": "sft"} and not again.checkpoints.exists()


def test_a_plan_finds_other_runs_in_the_folder_that_was_named(tmp_path: Path) -> None:
    sizes = {"data": {"source": ["world"]}, "tokenizer": {"train_vocab_size": 300}}
    run = write_run(tmp_path, "sft", "sft", plugins.validate("sft", sizes))
    write_checkpoint(run.checkpoints, 5, lambda folder: (folder / "model").mkdir())
    dry = ["run", "rm", "--dry-run", "--runs", str(tmp_path), "--set", "rm.model.path=run:sft"]
    done = CliRunner().invoke(app, dry)
    assert "no run 'sft'" not in done.stderr and str(tmp_path / "sft") in done.stderr + done.stdout


def test_another_run_has_as_many_processes_as_the_first_unless_told(echo: RunDir, tmp_path: Path) -> None:
    ranked = RunDir(tmp_path / "ranked")
    ranked.path.mkdir()
    status = echo.status()
    assert status is not None
    ranked.status_file.write_bytes(encode_record(msgspec.structs.replace(status, options=AttemptOptions(processes=2))))
    assert Again(ranked).options().ranks == 2
    assert Again(ranked).options(AttemptOptions(processes=1)).ranks == 1
    assert Again(ranked).options(AttemptOptions(max_seconds=5.0)).max_seconds == 5.0


def test_who_says_machines_alone_keeps_the_processes_of_each() -> None:
    before = AttemptOptions(processes=8, nodes=2, rendezvous="10.0.0.1:29400")
    alone = AttemptOptions(nodes=1).as_before(before)
    assert (alone.processes, alone.nodes, alone.rendezvous) == (8, 1, "")
    assert AttemptOptions(rendezvous="10.0.0.2:29400").as_before(before).rendezvous == "10.0.0.2:29400"


def test_what_is_asked_of_several_runs_holds_for_each(echo: RunDir) -> None:
    code, said = again(echo, "resume", echo.id, "--nproc", "2")
    assert code == 2 and said.count("--nproc 2: plugin 'echo' works in one process") == 2


def test_a_place_to_meet_is_for_several_machines(tmp_path: Path) -> None:
    asked = ["run", "echo", "--rdzv", "10.0.0.1:29400", "--runs", str(tmp_path / "runs")]
    done = CliRunner().invoke(app, asked)
    assert isinstance(done.exception, UserError) and "--nnodes 2" in str(done.exception)
    assert not (tmp_path / "runs").exists()
