"""Somebody else's run directory: reading it or going on with it runs nothing of theirs and leads nowhere else."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlhf_console.runs.store import find
from rlhf_sdk import launch, tail
from rlhf_sdk.bounds import DEEPEST, RECORD_BYTES, is_within
from rlhf_sdk.checkpoints import damage, latest_good, list_checkpoints, write_checkpoint
from rlhf_sdk.events import MetricsLogged, Note, Result, decode_event, encode_line
from rlhf_sdk.foreign import check_tree
from rlhf_sdk.references import pin_reference, resolve
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import RunRecord, encode_record
from rlhf_sdk.run_root import check_name, find_run, left_out, list_runs
from rlhf_sdk.tail import Tail, last_lines
from rlhf_sdk.trainer import UserError

MIB = 1 << 20
Done = subprocess.CompletedProcess[str]


def rlhf(root: Path, *arguments: str, cwd: Path | None = None, memory: int = 0) -> Done:
    def limit() -> None:
        if memory:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    command = [sys.executable, "-P", "-m", "rlhf_console", *arguments]
    environment = os.environ | {"RLHF_RUNS": str(root)}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=60, cwd=cwd, preexec_fn=limit
    )


def finished_run(root: Path, plugin: str = "echo", **config: object) -> RunDir:
    run = launch.create_run(root, plugin=plugin, config=config or {"steps": 2})
    launch.start(run)
    verdict = launch.wait(run)
    assert verdict is not None and verdict.exit_code == 0
    return run


def made_run(root: Path, directory: str, **fields: object) -> RunDir:
    """A run directory of somebody else's making, not started."""
    run = RunDir(root / directory)
    run.path.mkdir(parents=True)
    record = {"id": directory, "plugin": "echo", "config": {"steps": 1}, "created": 1.0} | fields
    run.record_file.write_text(json.dumps(record))
    return run


OUTSIDE = [
    "../elsewhere",
    "a/../../elsewhere",
    "..",
    ".",
    "",
    "./evil",
    "/etc",
    "evil/checkpoints",
    "evil\x00",
    "evil\n",
    "~",
    ".hidden",
]


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A run beside the run root, and one within it."""
    made_run(tmp_path, "elsewhere")
    made_run(tmp_path / "runs", ".hidden")
    return made_run(tmp_path / "runs", "evil").root


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_name_leaves_the_run_root(outside: Path, name: str) -> None:
    with pytest.raises(UserError):
        find_run(outside, name)
    for reference in (f"run:{name}", f"run:{name}@step-00000001", f"run:evil@{name or '/'}"):
        with pytest.raises(UserError):
            pin_reference(outside, reference)
        with pytest.raises(UserError):
            resolve(outside, {"model": reference})
    with pytest.raises(UserError):
        check_name(name)
    with pytest.raises(UserError):
        launch.create_run(outside, plugin="echo", config={}, name=name or "/")


@pytest.mark.parametrize("verb", ["show", "stop", "resume", "logs", "samples", "watch"])
def test_no_verb_takes_a_path_for_a_run(outside: Path, verb: str) -> None:
    done = rlhf(outside, verb, "../elsewhere" if verb < "r" else str(outside.parent / "elsewhere"))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert not (outside.parent / "elsewhere" / "status.json").exists()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(alphabet="ab./~\\-_\x00\n\x1b \u202e", max_size=12) | st.text(max_size=8))
def test_whatever_is_found_lies_directly_in_the_root(outside: Path, name: str) -> None:
    try:
        found = find_run(outside, name)
    except UserError:
        return
    assert found.path.parent == outside and found.id == "evil"


def test_a_link_is_no_run(outside: Path) -> None:
    (outside / "linked").symlink_to(outside.parent / "elsewhere")
    assert [run.id for run in list_runs(outside)] == ["evil"]
    assert left_out(outside) == [f"{outside / 'linked'} is a link: give its folder by --runs"]
    with pytest.raises(UserError, match="no run 'linked'"):
        find_run(outside, "linked")


def test_a_run_is_called_what_its_directory_is_called(outside: Path) -> None:
    run = made_run(outside, "renamed", id="../../elsewhere", name="evil-name")
    assert run.record().id == "renamed"


def test_a_name_can_not_stand_for_another_runs_id(outside: Path) -> None:
    mine = made_run(outside, "ppo-mine", created=1.0)
    made_run(outside, "zz-evil", name="ppo-mine", created=2.0)
    assert find(outside, "ppo-mine").directory == mine
    assert find(outside, "evil").record.id == "evil"


@pytest.mark.parametrize("stage", ["../../elsewhere", "/tmp/x", "..", "a/b"])
def test_a_stage_can_not_lie_elsewhere(outside: Path, stage: str) -> None:
    config = {"stages": {stage: {"plugin": "echo", "config": {"steps": 1}}}}
    run = made_run(outside, "pipe", plugin="pipeline", config=config)
    launch.start(run)
    verdict = launch.wait(run)
    assert verdict is not None and verdict.exit_code == 2
    assert f"run name {stage!r} can't be used" in verdict.reason


@pytest.mark.parametrize(
    "entry", ["run.json", "events.jsonl", "samples.jsonl", "output.log", "commands", "checkpoints"]
)
def test_nothing_is_read_or_written_through_a_link(root: Path, tmp_path: Path, entry: str) -> None:
    run = finished_run(root)
    precious = tmp_path / "precious"
    (run.path / entry).rename(precious)
    (run.path / entry).symlink_to(precious)
    before = sorted(precious.iterdir()) if precious.is_dir() else precious.read_bytes()
    for verb in ("show", "resume"):
        done = rlhf(root, verb, run.id)
        assert done.returncode == 2 and "link" in done.stderr + done.stdout, (verb, done.stdout, done.stderr)
    assert (sorted(precious.iterdir()) if precious.is_dir() else precious.read_bytes()) == before
    listed = rlhf(root, "ls")
    assert listed.returncode == 0 and "link" in listed.stderr


def test_a_link_deep_in_a_run_stops_its_resume(root: Path, tmp_path: Path) -> None:
    run = made_run(root, "evil")
    (run.data / "deep").mkdir(parents=True)
    (run.data / "deep" / "cache").symlink_to(tmp_path / "victim")
    with pytest.raises(UserError, match=r"cache is a link"):
        launch.start(run)
    assert not run.status_file.exists()
    (run.data / "deep" / "cache").unlink()
    (run.data / "latest").symlink_to("deep")
    (run.data / "circle").symlink_to("circle")
    check_tree(run.path)


@pytest.mark.parametrize("entry", ["events.jsonl", "status.json", "output.log"])
def test_a_pipe_holds_up_nobody(root: Path, entry: str) -> None:
    run = made_run(root, "evil")
    os.mkfifo(run.path / entry)
    finished_run(root)
    listed = rlhf(root, "ls")
    assert listed.returncode == 0 and "not a plain file" in listed.stderr and "echo" in listed.stdout
    assert rlhf(root, "show", "evil").returncode == 2


def test_a_record_of_a_gigabyte_is_refused_at_once(root: Path) -> None:
    run = made_run(root, "evil")
    os.truncate(run.record_file, 1 << 30)
    with pytest.raises(UserError, match=f"larger than {RECORD_BYTES // MIB} MiB"):
        run.record()
    assert rlhf(root, "ls", memory=800 * MIB).returncode == 0


def test_a_line_of_400_megabytes_is_passed_over_in_bounded_memory(root: Path) -> None:
    run = finished_run(root)
    lines = run.events_file.read_bytes().splitlines(keepends=True)
    with run.events_file.open("wb") as stream:
        stream.write(b"".join(lines[:2]))
        stream.seek(400 * MIB, os.SEEK_CUR)
        stream.write(b"\n" + b"".join(lines[2:]))
    done = rlhf(root, "show", run.id, "--json", memory=360 * MIB)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["step"] == 2


def test_long_lines_are_skipped_and_the_next_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "LINE_BYTES", 64)
    monkeypatch.setattr(tail, "CHUNK", 16)
    monkeypatch.setattr(tail, "BLOCK", 16)
    path = tmp_path / "lines"
    path.write_bytes(b"1\n" + b"x" * 1000 + b"\n2\n3\n" + b"y" * 500)
    following = Tail(path, int)
    assert list(following) == [1, 2, 3]
    with path.open("ab") as stream:
        stream.write(b"\n4\n")
    assert list(following) == [4]
    path.write_bytes(b"1\n" + b"x" * 1000 + b"\n2\n3\n")
    assert last_lines(path, 2) == [b"2", b"3"]
    assert last_lines(path, 5)[-2:] == [b"2", b"3"]


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


@pytest.mark.parametrize("depth", [DEEPEST + 1, 400, 900, 100_000])
def test_deep_nesting_is_damage_and_no_crash(root: Path, depth: int) -> None:
    run = made_run(root, "evil")
    run.events_file.write_text(
        f'{{"kind":"result","name":"r","data":{nested(depth)}}}\n{{"kind":"note","text":"after"}}\n'
    )
    assert [type(event) for event in run.events()] == [Note]
    run.record_file.write_text(f'{{"id":"evil","plugin":"echo","created":1,"config":{nested(depth)}}}')
    with pytest.raises(UserError, match="damaged"):
        run.record()


def test_what_is_not_too_deep_is_read() -> None:
    data = json.loads(nested(DEEPEST - 2))
    assert decode_event(encode_line(Result(name="r", data=data))) == Result(name="r", data=data)


def test_nothing_beside_a_run_is_imported(root: Path, tmp_path: Path, install: Callable[[str], None]) -> None:
    install("curious")
    trap = tmp_path / "trap"
    trap.mkdir()
    marker = tmp_path / "executed"
    code = f"open({str(marker)!r}, 'a').write(__name__ + chr(10))\n"
    names = (
        "planted_module",
        "torch",
        "json",
        "msgspec",
        "psutil",
        "rlhf_sdk",
        "rlhf_plugins",
        "sitecustomize",
        "site",
    )
    for name in names:
        (trap / f"{name}.py").write_text(code)
    run = made_run(root, "evil", plugin="curious", config={}, cwd=str(trap))
    for name in names:
        (run.path / f"{name}.py").write_text(code)
    launch.start(run)
    verdict = launch.wait(run)
    assert verdict is not None and verdict.exit_code == 0, verdict
    assert [event.text for event in run.events() if isinstance(event, Note)] == ["found None"]
    for arguments in (["show", "evil"], ["config", "curious"], ["check", "curious"], ["run", "curious"]):
        done = rlhf(root, *arguments, cwd=trap)
        assert done.returncode == 0, done.stderr
    assert not marker.exists()


@pytest.mark.parametrize("plugin", ["../evil", "os:system", "echo\n", "", "evil.plugin"])
def test_only_installed_plugins_run(root: Path, plugin: str) -> None:
    run = made_run(root, "evil", plugin=plugin)
    (run.path / "evil.py").write_text("plugin = 1\n")
    launch.start(run)
    verdict = launch.wait(run)
    assert verdict is not None and verdict.exit_code == 2 and "unknown plugin" in verdict.reason


def test_a_link_in_a_checkpoint_is_damage(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("precious")
    good = write_checkpoint(tmp_path / "c", 1, lambda folder: (folder / "a").write_text("precious"))
    other = write_checkpoint(tmp_path / "c", 2, lambda folder: (folder / "a").write_text("precious"))
    (other / "a").unlink()
    (other / "a").symlink_to(tmp_path / "secret")
    assert "a is a link" in str(damage(other))
    third = tmp_path / "c" / "step-00000003"
    third.symlink_to(good)
    assert "is a link" in str(damage(third))
    found, problems = latest_good(tmp_path / "c")
    assert found == good and set(problems) == {"step-00000002", "step-00000003"}


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret"])
def test_a_manifest_names_no_file_elsewhere(tmp_path: Path, name: str) -> None:
    checkpoint = write_checkpoint(tmp_path / "c", 1, lambda folder: (folder / "a").write_text("x"))
    manifest = json.loads((checkpoint / "MANIFEST.json").read_text())
    manifest["files"][name] = manifest["files"]["a"]
    (checkpoint / "MANIFEST.json").write_text(json.dumps(manifest))
    assert "lies elsewhere" in str(damage(checkpoint))
    assert not is_within(name) and is_within("model/adapter/weights")


def test_a_checkpoint_that_is_a_link_is_not_resumed_from(root: Path, tmp_path: Path) -> None:
    run = finished_run(root)
    (newest,) = list_checkpoints(run.checkpoints)[-1:]
    newest.rename(tmp_path / newest.name)
    newest.symlink_to(tmp_path / newest.name)
    run.exit_file.write_text(run.exit_file.read_text().replace('"finished"', '"failed"'))
    done = rlhf(root, "resume", run.id)
    assert done.returncode == 2 and "is a link" in done.stderr
    with pytest.raises(UserError, match="is a link"):
        pin_reference(root, f"run:{run.id}")


def test_records_of_the_newest_version_are_read_in_full(root: Path) -> None:
    run = made_run(root, "good")
    record = RunRecord(id="good", plugin="echo", config={"steps": 1}, created=1.0)
    run.record_file.write_bytes(encode_record(record))
    run.events_file.write_bytes(encode_line(MetricsLogged(values={"a": 1.0}, seconds=0.5)))
    assert run.record() == record
    assert msgspec.to_builtins(next(iter(run.events())))["values"] == {"a": 1.0}
