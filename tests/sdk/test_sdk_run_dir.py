"""Run ids, the root, references, liveness and states, without any process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from rlhf_sdk import launch, liveness
from rlhf_sdk.checkpoints import write_checkpoint
from rlhf_sdk.events import Note, Sample
from rlhf_sdk.evidence import STALLED_AFTER_SECONDS
from rlhf_sdk.files import write_atomically
from rlhf_sdk.journal import Journal, last_attempt
from rlhf_sdk.references import map_strings, pin, resolve
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import ProcessIdentity, RunRecord, RunStatus, encode_record
from rlhf_sdk.run_root import find_run, list_runs, new_run_id, run_root
from rlhf_sdk.states import ENDED, LIVE, RESUMABLE, TRANSITIONS, State, can_become
from rlhf_sdk.trainer import UserError


def new_run(root: Path, run_id: str) -> RunDir:
    run = RunDir(root / run_id)
    run.path.mkdir(parents=True)
    run.record_file.write_bytes(encode_record(RunRecord(id=run_id, plugin="echo", config={}, created=0.0)))
    return run


def with_model(folder: Path) -> None:
    (folder / "model").mkdir()
    (folder / "model" / "weights").write_bytes(b"abc")


def test_ids_tell_name_and_time() -> None:
    assert re.fullmatch(r"tldr_1\.b-\d{8}-\d{6}-[0-9a-f]{4}", new_run_id("tldr_1.b"))


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "-flag", "a b", "a" * 101, "a\n", "é"])
def test_names_can_not_leave_the_root(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="can't be used"):
        new_run_id(name)
    with pytest.raises(UserError, match="no run"):
        find_run(tmp_path, "../" + name)


def test_the_root_is_chosen_or_from_the_environment_or_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RLHF_RUNS", raising=False)
    assert run_root() == tmp_path / "runs"
    monkeypatch.setenv("RLHF_RUNS", "/elsewhere")
    assert run_root() == Path("/elsewhere") and run_root("mine") == tmp_path / "mine"


def test_runs_are_found_by_id_or_a_unique_beginning(tmp_path: Path) -> None:
    for run_id in ("sft-1", "sft-2", "pipe-1", "pipe-1.sft", "pipe-1.ppo"):
        new_run(tmp_path, run_id)
    (tmp_path / "stranger").mkdir()
    assert [run.id for run in list_runs(tmp_path)] == ["pipe-1", "pipe-1.ppo", "pipe-1.sft", "sft-1", "sft-2"]
    assert find_run(tmp_path, "sft-1").id == "sft-1" and find_run(tmp_path, "pi").id == "pipe-1"
    assert find_run(tmp_path, "pipe-1.p").id == "pipe-1.ppo"
    with pytest.raises(UserError, match="several runs start with 'sft': sft-1, sft-2"):
        find_run(tmp_path, "sft")
    with pytest.raises(UserError, match=r"no run 'stf-1'.*Did you mean 'sft-1'"):
        find_run(tmp_path, "stf-1")
    assert list_runs(tmp_path / "absent") == []


def test_references_are_pinned_then_resolved(tmp_path: Path) -> None:
    run = new_run(tmp_path, "sft-1")
    for step in (10, 20):
        write_checkpoint(run.checkpoints, step, with_model)
    policies = {"old": "run:sft-1@step-00000010", "short": "run:sft-1@10"}
    config = {"model": {"path": "run:sft"}, "policies": policies, "list": ["run:sft-1", 3]}
    pinned, parents = pin(tmp_path, config)
    assert pinned["model"]["path"] == "run:sft-1@step-00000020"
    assert pinned["policies"] == dict.fromkeys(policies, "run:sft-1@step-00000010")
    assert parents == dict.fromkeys(("model.path", "policies.old", "policies.short", "list.0"), "sft-1")
    write_checkpoint(run.checkpoints, 30, with_model)
    resolved = resolve(tmp_path, pinned)
    assert resolved["model"]["path"] == str(run.checkpoints / "step-00000020" / "model")
    assert resolved["list"] == [resolved["model"]["path"], 3]


def test_a_stages_references_wait_until_its_run_is_made(tmp_path: Path) -> None:
    run = new_run(tmp_path, "sft-1")
    write_checkpoint(run.checkpoints, 1, with_model)
    stage = {"plugin": "ppo", "config": {"model": "run:sft-1", "reward_model": "stage:rm"}}
    pinned, parents = pin(tmp_path, {"stages": {"ppo": stage}})
    expected = {"model": "run:sft-1@step-00000001", "reward_model": "stage:rm"}
    assert pinned["stages"]["ppo"]["config"] == expected and set(parents.values()) == {"sft-1"}
    assert resolve(tmp_path, pinned) == pinned


BAD_REFERENCES = [
    ("run:stf-1", r"a\.b = 'run:stf-1': no run 'stf-1'.*Did you mean 'sft-1'"),
    ("run:empty-1", "run empty-1 is created and has no checkpoint"),
    ("run:sft-1@step-00000002", "no such checkpoint; there is step-00000001"),
    ("run:sft-1@latest", "is not the name of a checkpoint"),
    ("stage:sft", "--from sft=RUN"),
    ("run:broken-1", "no good checkpoint: step-00000001: model/weights is missing"),
]


@pytest.mark.parametrize(("reference", "message"), BAD_REFERENCES)
def test_references_that_lead_nowhere(tmp_path: Path, reference: str, message: str) -> None:
    for run_id in ("sft-1", "broken-1"):
        write_checkpoint(new_run(tmp_path, run_id).checkpoints, 1, with_model)
    new_run(tmp_path, "empty-1")
    (tmp_path / "broken-1" / "checkpoints" / "step-00000001" / "model" / "weights").unlink()
    with pytest.raises(UserError, match=message):
        pin(tmp_path, {"a": {"b": reference}})


def test_a_checkpoint_without_a_model_or_with_damage_is_refused(tmp_path: Path) -> None:
    run = new_run(tmp_path, "pipeline-1")
    saved = write_checkpoint(run.checkpoints, 1, lambda folder: (folder / "state").write_text("ab"))
    with pytest.raises(UserError, match="trains no model"):
        resolve(tmp_path, {"path": "run:pipeline-1@step-00000001"})
    (saved / "state").write_text("xy")
    with pytest.raises(UserError, match="state has other contents"):
        resolve(tmp_path, {"path": "run:pipeline-1@step-00000001"})


def test_only_values_are_mapped() -> None:
    assert map_strings({"a": ["b", 1, {"c": "d"}]}, str.upper) == {"a": ["B", 1, {"c": "D"}]}


def status_of(worker: ProcessIdentity, **changes: object) -> RunStatus:
    status = RunStatus(
        state=State.RUNNING,
        attempt=1,
        started=time.time(),
        time=time.time(),
        host=liveness.host_name(),
        boot_id=liveness.boot_id(),
        shim=ProcessIdentity(pid=worker.pid, start="long ago"),
        worker=worker,
    )
    return msgspec.structs.replace(status, **changes)


def test_alive_is_pid_and_start_time_and_boot(tmp_path: Path) -> None:
    run = new_run(tmp_path, "a")
    own = liveness.own_identity()
    reused = ProcessIdentity(pid=own.pid, start="1")
    for status, state in [
        (status_of(own), State.RUNNING),
        (status_of(reused), State.LOST),
        (status_of(own, boot_id="another boot"), State.LOST),
        (status_of(own, state=State.PAUSED), State.PAUSED),
    ]:
        run.status_file.write_bytes(encode_record(status))
        assert run.state() is state


def test_on_another_host_the_heartbeat_decides(tmp_path: Path) -> None:
    run = new_run(tmp_path, "a")
    elsewhere = status_of(liveness.own_identity(), host="elsewhere")
    run.status_file.write_bytes(encode_record(elsewhere))
    assert run.state() is State.LOST
    run.heartbeat.touch()
    assert run.state() is State.RUNNING
    os.utime(run.heartbeat, (0, time.time() - 2 * STALLED_AFTER_SECONDS))
    assert run.state() is State.LOST


def test_alive_with_an_old_heartbeat_is_stalled(tmp_path: Path) -> None:
    run = new_run(tmp_path, "a")
    run.status_file.write_bytes(encode_record(status_of(liveness.own_identity())))
    run.heartbeat.touch()
    os.utime(run.heartbeat, (0, time.time() - 2 * STALLED_AFTER_SECONDS))
    assert run.state() is State.STALLED


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    identity = liveness.identity_of(child.pid)
    while liveness.is_alive(identity):
        time.sleep(0.01)
    child.wait()
    assert identity is not None and not liveness.is_alive(identity)


def test_every_state_has_its_followers() -> None:
    assert set(TRANSITIONS) == set(State)
    assert all(can_become(state, State.STARTING) for state in RESUMABLE)
    assert not TRANSITIONS[State.FINISHED] and State.FINISHED not in RESUMABLE
    assert ENDED.isdisjoint(LIVE)
    assert all(can_become(State.RUNNING, state) for state in ENDED)
    reached, frontier = {State.CREATED}, [State.CREATED]
    while frontier:
        new = TRANSITIONS[frontier.pop()] - reached
        reached |= new
        frontier += new
    assert reached == set(State)


def test_records_of_a_newer_schema_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    run = new_run(tmp_path, "a")
    run.record_file.write_text('{"schema": 2}')
    with pytest.raises(UserError, match="schema 2; this version reads up to 1"):
        run.record()
    run.record_file.write_text('{"schema": 1')
    with pytest.raises(UserError, match=r"run\.json is damaged"):
        run.record()
    run.record_file.unlink()
    with pytest.raises(UserError, match="is not a run"):
        run.record()


def test_a_new_run_records_what_it_was_made_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = launch.create_run(tmp_path / "runs", plugin="echo", config={"seed": 3}, name="mine", argv=["rlhf", "run"])
    record = run.record()
    assert record.id == run.id and record.name == "mine" and record.seed == 3 and record.cwd == str(tmp_path)
    assert record.versions["python"].startswith("3.") and "msgspec" in record.versions
    assert run.state() is State.CREATED and [path.name for path in (tmp_path / "runs").iterdir()] == [run.id]


def test_a_root_that_is_a_file_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="can't make a run in"):
        launch.create_run(tmp_path / "file" / "runs", plugin="echo", config={})


def test_atomic_writes_leave_the_old_content_when_they_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "status.json"
    write_atomically(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_journal_goes_on_counting_after_a_half_written_line(tmp_path: Path) -> None:
    events, samples = tmp_path / "events.jsonl", tmp_path / "samples.jsonl"
    first = Journal(events, samples, attempt=1)
    first.event(Note(text="one"))
    first.sample(Sample(tag="t", index=0, prompt="p", response="r"))
    with events.open("ab") as stream:
        stream.write(b'{"kind":"note","seq":2,"te')
    second = Journal(events, samples, attempt=2)
    second.step = 7
    second.event(Note(text="two"))
    found = list(RunDir(tmp_path).events())
    assert [(event.seq, event.attempt, event.step) for event in found] == [(1, 1, 0), (2, 2, 7)]
    assert second.sample_seq == 1 and last_attempt(events) == 2
