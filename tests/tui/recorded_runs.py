"""Whole runs as their workers would have written them, the same bytes each time: one for each way a run can go.

`recorded.py` has the parts, and the healthy, the hostile and the pipeline; a test replays them by opening their root.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from recorded import BEGAN, PROMPT, RESPONSE, append, append_events, machine_line, write_exit, write_record
from rlhf_sdk.events import (
    Alert,
    Check,
    CheckpointSaved,
    CommandAcknowledged,
    Event,
    Finished,
    MemoryRow,
    MemoryTable,
    MetricsLogged,
    PhaseEnded,
    Sample,
    Started,
    StateChanged,
    ValueSet,
    encode_line,
)
from rlhf_sdk.machine_samples import DeviceSample, MachineSample
from rlhf_sdk.states import State

GIB = 2**30
UPDATE_SECONDS = 12.0
PPO_CONFIG = {"kl_coef": 0.05, "kl_control": "adaptive", "kl_target_nats_per_sequence": 6.0, "optimizer": {"lr": 1e-5}}
"""Of a real one, what the console reads."""


def write_kl_explosion(root: Path, run_id: str = "ppo-explosion") -> Path:
    """KL doubles from update 30 on and drags the rest along; alerts, a red light, a loss that is not finite at 40."""
    directory = _begin(root, run_id)
    events = _beginning(200)
    for step in range(1, 41):
        events += _update(step, kl=0.2 * step if step < 30 else 6.0 * 2.0 ** (step - 30), broken=step == 40)
        if step in (34, 37):
            events.append(_kl_alert(step, 6.0 * 2.0 ** (step - 30)))
        if step == 36:
            events.append(ValueSet(key="kl_coef", value=0.2, previous=0.05, step=step, time=_at(step)))
    events.append(Check(name="kl_level", status="fail", figure=6144.0, tolerance=50.0, step=40, time=_at(40)))
    _end(directory, events, State.FAILED, step=40, exit_code=4, reason="policy loss is not finite at update 40")
    return directory


def write_out_of_memory(root: Path, run_id: str = "ppo-oom") -> Path:
    """Memory of a GPU of 24 GiB climbs until update 9 finds none, after one back-off."""
    directory = _begin(root, run_id)
    events = _beginning(100)
    for step in range(1, 10):
        events += _update(step, kl=0.1 * step, peak=(14 + step) * GIB)
        append(directory, "machine.jsonl", _device_line(step, (15 + step) * GIB))
    events.append(_alert("warning", "out_of_memory_backed_off", "update: 16 rows did not fit, goes on with 8", 8))
    events.append(_alert("error", "oom", "out of memory in update/backward, asked for 1.5 GiB with 0.4 GiB free", 9))
    report = {"phase": "update/backward", "bytes": 1.5 * GIB, "frames": ["losses.py:41"], "summary": "policy 6.0 GiB"}
    (directory / "memory").mkdir()
    (directory / "memory" / "oom-1-1.json").write_bytes(msgspec.json.encode(report))
    _end(directory, events, State.OOM, step=9, exit_code=5, reason="out of memory in update/backward")
    return directory


def write_crash(root: Path, run_id: str = "ppo-crash") -> Path:
    """The plugin raises in update 13, between two checkpoints."""
    directory = _begin(root, run_id)
    events = _beginning(50)
    for step in range(1, 13):
        events += _update(step, kl=0.1 * step)
    events.append(CheckpointSaved(name="step-00000010", bytes=3 * GIB, seconds=2.5, step=10, time=_at(10)))
    crash = {
        "run": run_id, "state": "failed", "exit_code": 3, "reason": "KeyError: 'prompt'", "attempt": 1,
        "time": _at(13), "phase": "rollout", "checkpoint": "step-00000010", "resume": f"rlhf resume {run_id}",
        "exception": {"type": "builtins.KeyError", "message": "'prompt'", "traceback": ["KeyError: 'prompt'"]},
    }  # fmt: skip
    (directory / "crash.json").write_bytes(msgspec.json.encode(crash))
    (directory / "output.log").write_text("Traceback (most recent call last):\n  File \"x.py\"\nKeyError: 'prompt'\n")
    _end(directory, events, State.FAILED, step=12, exit_code=3, reason="KeyError: 'prompt'")
    return directory


def write_paused(root: Path, run_id: str = "ppo-paused") -> Path:
    """Held after update 7, on another host whose heartbeat is fresh: a run at work as far as anybody can tell."""
    directory = _begin(root, run_id)
    events = _beginning(20)
    for step in range(1, 8):
        events += _update(step, kl=0.1 * step)
    answer = CommandAcknowledged(command_id="a", command="pause", outcome="done", step=7, time=_at(7))
    events += [StateChanged(state="paused", step=7, time=_at(7)), answer]
    append_events(directory, events)
    write_exit(directory, State.PAUSED)
    (directory / "exit.json").unlink()
    (directory / "heartbeat").touch()
    return directory


def write_long(root: Path, run_id: str = "ppo-long", *, rows: int = 1_000_000, metrics: int = 6) -> Path:
    """A run at work with so many `metrics` events; the names are those of PPO's charts, then made-up ones."""
    directory = write_record(root, run_id, config=PPO_CONFIG)
    append_events(directory, [Started(plugin="ppo", total_steps=rows, time=BEGAN), StateChanged(state="running")])
    with (directory / "events.jsonl").open("ab") as stream:
        stream.writelines(long_lines(1, rows, metrics))
    return directory


LONG_NAMES = (
    "reward/score_mean", "kl/sequence_nats", "policy/entropy_nats", "loss/policy", "response/tokens_mean", "loss/value",
)  # fmt: skip


def long_lines(first: int, last: int, metrics: int = 6) -> Iterator[bytes]:
    """The metrics of steps `first` to `last`: waves, each of another length, so that no column of a chart is flat."""
    names = (*LONG_NAMES, *(f"other/{number}" for number in range(metrics)))[:metrics]
    encode = msgspec.json.Encoder().encode
    for step in range(first, last + 1):
        values = {name: math.sin(step * 0.001 * place) + 0.1 * math.sin(step) for place, name in enumerate(names, 1)}
        yield encode(MetricsLogged(values=values, seconds=0.5, seq=step + 2, step=step, time=BEGAN + step / 2)) + b"\n"


def _begin(root: Path, run_id: str, **fields: Any) -> Path:
    return write_record(root, run_id, config=PPO_CONFIG, seed=3, profile="tldr", created=BEGAN, **fields)


def _beginning(total: int) -> list[Event]:
    table = [
        MemoryRow(role=role, kind="weights", bytes=2 * GIB) for role in ("policy", "ref_policy", "value_model")
    ] + [MemoryRow(role="policy", kind="optimizer", bytes=4 * GIB)]
    return [
        Started(plugin="ppo", total_steps=total, time=BEGAN),
        StateChanged(state="running", time=BEGAN),
        Check(name="ratio_is_one", status="ok", figure=0.0, tolerance=1e-5, time=BEGAN),
        MemoryTable(rows=table, unaccounted=GIB, step=1, time=_at(1)),
    ]


def _update(step: int, *, kl: float, peak: int = 14 * GIB, broken: bool = False) -> list[Event]:
    """Phases and metrics of one update; a high `kl` drags the rest along."""
    drift = min(kl / 100, 1.0)
    values = {
        "reward/score_mean": 0.02 * step + 3 * drift,
        "reward/total_mean": 0.02 * step + 3 * drift - 0.05 * kl,
        "kl/sequence_nats": kl,
        "kl/coef": 0.05,
        "policy/entropy_nats": 2.5 * (1 - drift),
        "policy/clip_fraction": 0.05 + 0.4 * drift,
        "response/tokens_mean": 30 + 20 * drift,
        "response/eos_share": 0.98 - 0.9 * drift,
        "loss/policy": math.nan if broken else -0.01 - 0.1 * drift,
        "loss/value": math.inf if broken else 1 / step,
        "value/explained_variance": 1 - 1 / step - drift,
        "throughput/episodes_per_second": 2.4,
        "episode": 64.0 * step,
    }
    memory = {"rss": 2 * GIB, "allocated": 10 * GIB, "reserved": 12 * GIB, "peak": peak, "limit": 24 * GIB}
    phases = [("rollout", 5.0), ("scoring", 1.0), ("update", 6.0)]
    ended = [
        PhaseEnded(name=name, seconds=spent, memory=memory, step=step - 1, time=_at(step)) for name, spent in phases
    ]
    return [*ended, MetricsLogged(values=values, seconds=UPDATE_SECONDS, step=step, time=_at(step))]


def _at(step: int) -> float:
    return BEGAN + UPDATE_SECONDS * step


def _alert(severity: Any, code: str, message: str, step: int) -> Alert:
    advice = "halve micro_batch_size, or use LoRA"
    return Alert(
        severity=severity, code=code, message=message, advice=advice, phase="update", step=step, time=_at(step)
    )


def _kl_alert(step: int, kl: float) -> Alert:
    message, advice = f"KL is {kl:.0f} nats a sequence, target 6", "raise kl_coef, or lower the learning rate"
    figures = {"kl/sequence_nats": kl}
    return Alert(
        severity="warning", code="kl_high", message=message, advice=advice, figures=figures, step=step, time=_at(step)
    )


def _device_line(step: int, used: int) -> bytes:
    device = DeviceSample(index=0, name="GPU of 24 GiB", memory_used=used, memory_total=24 * GIB, utilization=97)
    moment = MachineSample(
        time=_at(step), attempt=1, rss=2 * GIB, memory_available=40 * GIB, disk_free=500 * GIB, devices=[device]
    )
    return msgspec.json.encode(moment) + b"\n"


def _end(directory: Path, events: list[Event], state: State, *, step: int, exit_code: int, reason: str) -> None:
    """The last words of events.jsonl, a sample for each fifth update, and the verdict."""
    last = [StateChanged(state=state, reason=reason, step=step, time=_at(step))]
    append_events(directory, [*events, *last, Finished(exit_code=exit_code, reason=reason, step=step, time=_at(step))])
    samples = (
        Sample(
            seq=at, step=at, tag="rollout", index=0, prompt=PROMPT, response=f"{RESPONSE} update {at}", time=_at(at),
            reference="call your sister", metrics={"score": at / 50, "kl/sequence_nats": at / 20},
        )
        for at in range(5, step + 1, 5)
    )  # fmt: skip
    append(directory, "samples.jsonl", *map(encode_line, samples))
    append(directory, "machine.jsonl", machine_line(UPDATE_SECONDS * step, 2 * GIB))
    write_exit(directory, state, exit_code=exit_code, reason=reason)
