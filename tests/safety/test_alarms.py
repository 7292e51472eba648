"""What the shim says of a worker that can't: stuck, killed, disk or memory nearly full."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from rlhf_console.runs.store import LiveRun
from rlhf_sdk import alarms, launch
from rlhf_sdk.checkpoints import write_checkpoint
from rlhf_sdk.events import Alert, Severity
from rlhf_sdk.liveness import Silence
from rlhf_sdk.machine_samples import MachineSample
from rlhf_sdk.notify import ENVIRONMENT, Message
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import ExitRecord
from rlhf_sdk.states import ENDED, State
from rlhf_sdk.watchdog import GIB, Watchdog, newest_checkpoint_bytes

FINE = MachineSample(time=0, attempt=1, memory_available=50 * GIB, disk_free=100 * GIB)
SHIM = "import rlhf_sdk.watchdog as w, rlhf_sdk.shim as s; w.STALLED_AFTER_SECONDS = 1.5; s.main()"


@pytest.fixture
def watchdog() -> Watchdog:
    return Watchdog(100 * GIB)


def looked(watchdog: Watchdog, silent: float = 0.0, checkpoint: int = 0, **changes: int | None) -> list[str]:
    sample = msgspec.structs.replace(FINE, **changes)
    return [alert.code for alert in watchdog.look(sample, silent_seconds=silent, checkpoint_bytes=checkpoint)]


def test_a_stall_is_told_once_and_when_it_is_over(watchdog: Watchdog) -> None:
    told = [looked(watchdog, silent=seconds) for seconds in (0.5, 59, 61, 62, 400, 0.2, 0.4, 61)]
    assert told == [[], [], ["stalled"], [], [], ["goes_on"], [], ["stalled"]]


def test_a_disk_is_nearly_full_when_the_next_checkpoint_does_not_fit(watchdog: Watchdog) -> None:
    def told(free: float) -> list[str]:
        return looked(watchdog, checkpoint=10 * GIB, disk_free=int(free * GIB))

    assert [told(free) for free in (12, 10.9, 5, 12, 10.9)] == [[], ["disk_nearly_full"], [], [], []]
    assert [told(free) for free in (14, 10.9)] == [[], ["disk_nearly_full"]]
    assert looked(Watchdog(GIB), disk_free=int(1.1 * GIB)) == []
    assert looked(Watchdog(GIB), disk_free=int(0.9 * GIB)) == ["disk_nearly_full"]


def test_memory_is_nearly_full_at_a_twentieth_or_two_gib() -> None:
    assert looked(Watchdog(1000 * GIB), memory_available=int(2.1 * GIB)) == []
    assert looked(Watchdog(1000 * GIB), memory_available=int(1.9 * GIB)) == ["memory_nearly_full"]
    assert looked(Watchdog(10 * GIB), memory_available=int(0.6 * GIB)) == []
    assert looked(Watchdog(10 * GIB), memory_available=int(0.4 * GIB)) == ["memory_nearly_full"]


def test_a_limit_is_near_at_95_percent(watchdog: Watchdog) -> None:
    limits = {"cgroup_limit": 100 * GIB}
    assert looked(watchdog, cgroup_used=94 * GIB, **limits) == []
    assert looked(watchdog, cgroup_used=96 * GIB, **limits) == ["memory_limit_near"]
    assert looked(watchdog, cgroup_used=96 * GIB, cgroup_limit=None) == []


def test_two_shortages_are_two_alerts(watchdog: Watchdog) -> None:
    assert looked(watchdog, silent=70, memory_available=0, disk_free=0) == [
        "stalled",
        "disk_nearly_full",
        "memory_nearly_full",
    ]


def test_silence_is_measured_by_the_steady_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    heartbeat = tmp_path / "heartbeat"
    silence = Silence(heartbeat)
    now = 130.0
    assert silence.seconds() == 30.0
    heartbeat.touch()
    assert silence.seconds() == 0.0
    monkeypatch.setattr(time, "time", lambda: 1e12)
    now = 140.0
    assert silence.seconds() == 10.0


def test_the_size_of_a_checkpoint_is_that_of_its_files(tmp_path: Path) -> None:
    assert newest_checkpoint_bytes(tmp_path / "none") == 0
    write_checkpoint(tmp_path, 1, lambda folder: (folder / "weights").write_bytes(bytes(5000)))
    assert 5000 < newest_checkpoint_bytes(tmp_path) < 5500


def of_the_worker(run: RunDir) -> list[Alert]:
    """Alerts about the worker, without those about a machine that others use too."""
    return [alert for alert in run.alerts() if alert.code in ("stalled", "goes_on", "killed")]


def codes(run: RunDir) -> list[str]:
    return [alert.code for alert in of_the_worker(run)]


def wait_for(run: RunDir, *wanted: str) -> None:
    deadline = time.monotonic() + 30
    while codes(run) != list(wanted) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert codes(run) == list(wanted)


def test_a_stopped_worker_is_stalled_goes_on_and_is_killed(root: Path) -> None:
    run = launch.create_run(root, plugin="echo", config={"steps": 10_000, "delay_seconds": 0.05})
    with run.log.open("ab") as log:
        shim = subprocess.Popen([sys.executable, "-P", "-c", SHIM, str(run.path), "0"], stdout=log, stderr=log)
    while run.state() != "running":
        time.sleep(0.05)
    launch.send_signal(run, signal.SIGSTOP)
    wait_for(run, "stalled")
    launch.send_signal(run, signal.SIGCONT)
    wait_for(run, "stalled", "goes_on")
    launch.send_signal(run, signal.SIGKILL)
    shim.wait(timeout=30)
    alerts = of_the_worker(run)
    assert [(alert.code, alert.severity, alert.attempt) for alert in alerts] == [
        ("stalled", "error", 1),
        ("goes_on", "info", 1),
        ("killed", "error", 1),
    ]
    assert [alert.time for alert in alerts] == sorted(alert.time for alert in alerts)
    assert run.alerts_file.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a person would be told, in order."""
    messages: list[str] = []

    class Teller:
        def poll(self) -> int:
            return 0

    def start(message: Message) -> Teller:
        messages.append(f"{message.what}: {message.message}")
        return Teller()

    monkeypatch.setenv(ENVIRONMENT, "https://example.org/hook")
    monkeypatch.setattr(alarms, "start_telling", start)
    return messages


def alert(code: str, message: str = "it is bad", severity: Severity = "error") -> Alert:
    return Alert(severity=severity, code=code, message=message)


def ended(state: State, reason: str = "") -> ExitRecord:
    return ExitRecord(state=state, attempt=1, exit_code=1, reason=reason, time=1.0)


def test_errors_are_told_each_kind_once_in_a_while(
    root: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    bell = alarms.Alarms(launch.create_run(root, plugin="echo", config={}), 1)
    for heard in (alert("nan"), alert("nan"), alert("leak"), alert("kl", severity="warning")):
        bell.hear(heard)
    bell.tell()
    assert told == ["nan: it is bad", "leak: it is bad"]
    now += alarms.QUIET_SECONDS - 1
    bell.hear(alert("nan"))
    bell.tell()
    now += 1
    bell.hear(alert("nan"))
    bell.tell()
    assert told == ["nan: it is bad", "leak: it is bad", "nan: it is bad"]


@pytest.mark.parametrize("state", sorted(ENDED))
def test_ends_are_told_if_nobody_asked_for_them(root: Path, told: list[str], state: State) -> None:
    bell = alarms.Alarms(launch.create_run(root, plugin="echo", config={}), 1)
    bell.hear(alert("plugin_failed", "the shapes don't match"))
    bell.hear(alert("nan"))
    bell.end(ended(state, "the shapes don't match"))
    wanted = state in (State.FINISHED, State.FAILED, State.OOM, State.KILLED)
    assert told == ["nan: it is bad"] + [f"{state}: the shapes don't match"] * wanted


def test_a_stages_end_is_told_by_its_pipeline(root: Path, told: list[str]) -> None:
    bell = alarms.Alarms(launch.create_run(root, plugin="echo", config={}, pipeline="pipe-1", stage="sft"), 1)
    bell.give(alert("stalled"))
    bell.end(ended(State.FAILED, "no"))
    assert told == ["stalled: it is bad"]


def test_nobody_is_told_where_nobody_is_named(root: Path, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT)
    run = launch.create_run(root, plugin="echo", config={})
    bell = alarms.Alarms(run, 1)
    bell.give(alert("stalled"))
    bell.end(ended(State.FAILED))
    assert told == [] and [each.code for each in run.alerts()] == ["stalled"]


def test_an_alert_that_can_not_be_written_is_told_all_the_same(
    root: Path, told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = launch.create_run(root, plugin="echo", config={})
    run.alerts_file.mkdir()
    bell = alarms.Alarms(run, 1)
    bell.give(alert("disk_nearly_full"))
    bell.tell()
    assert told == ["disk_nearly_full: it is bad"]
    assert "an alert could not be written" in capsys.readouterr().err


def test_readers_see_both_kinds_of_alerts(root: Path) -> None:
    run = launch.create_run(root, plugin="echo", config={"steps": 1})
    launch.start(run)
    launch.wait(run)
    live = LiveRun.open(run).catch_up()
    assert live.summary.alerts == []
    told = Alert(severity="error", code="killed", message="killed by SIGKILL", attempt=1, time=5.0)
    run.alerts_file.write_bytes(msgspec.json.encode(told) + b'\n{"kind":"finished","exit_code":0}\n')
    assert live.catch_up().summary.alerts == [told]
    assert live.summary.exit_code == 0
