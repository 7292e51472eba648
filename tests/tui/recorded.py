"""Run directories as a worker would have written them, for the screens to read."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import msgspec

from rlhf_sdk.events import (
    Alert,
    Check,
    ChildRun,
    Event,
    Finished,
    MetricsLogged,
    PhaseEnded,
    Result,
    Sample,
    Started,
    StateChanged,
    encode_line,
)
from rlhf_sdk.machine_samples import MachineSample
from rlhf_sdk.run_record import ExitRecord, RunRecord, encode_record
from rlhf_sdk.states import State

HOSTILE = "\x1b[31mred\x1b[0m\x1b]0;title\x07 [bold]not markup[/bold] \u202edlrow"
PROMPT = "SUBREDDIT: r/advice\n\nTITLE: my sister\n\nPOST: my sister left . should i call her ?\n\nTL;DR:"
RESPONSE = "my sister left . should i call her ?"
BEGAN = 1.8e9


def write_record(root: Path, run_id: str, *, plugin: str = "ppo", **fields: Any) -> Path:
    directory = root / run_id
    directory.mkdir(parents=True)
    record = RunRecord(**({"id": run_id, "plugin": plugin, "config": {}, "created": time.time() - 600} | fields))  # type: ignore[arg-type]
    (directory / "run.json").write_bytes(encode_record(record))
    return directory


def write_exit(directory: Path, state: State, *, exit_code: int = 0, reason: str = "") -> None:
    verdict = ExitRecord(state=state, attempt=1, exit_code=exit_code, reason=reason, time=BEGAN)
    (directory / "exit.json").write_bytes(encode_record(verdict))
    status = {
        "state": state, "attempt": 1, "started": BEGAN, "time": BEGAN, "host": "elsewhere", "boot_id": "",
        "shim": {"pid": 1, "start": "0"},
    }  # fmt: skip
    (directory / "status.json").write_bytes(msgspec.json.encode(status))


def append(directory: Path, name: str, *lines: bytes) -> None:
    with (directory / name).open("ab") as stream:
        stream.writelines(lines)


def append_events(directory: Path, events: list[Event]) -> None:
    numbered = (msgspec.structs.replace(event, seq=seq) for seq, event in enumerate(events, 1))
    append(directory, "events.jsonl", *map(encode_line, numbered))


def ppo_update(step: int, *, spoiled: bool = False) -> list[Event]:
    """What update `step` logs: figures that are easy to foretell."""
    values = {
        "reward/score_mean": math.nan if spoiled and step % 3 == 0 else step / 10,
        "reward/total_mean": step / 12,
        "kl/sequence_nats": math.inf if spoiled and step == 5 else step / 20,
        "policy/entropy_nats": 0.5 - step / 100,
    }
    began = BEGAN + step - 1
    memory = {"rss": 2**30 + step * 2**20}
    rollout = PhaseEnded(name="rollout", seconds=0.5, memory=memory, step=step - 1, time=began + 0.5)
    return [rollout, MetricsLogged(values=values, seconds=1.5, step=step, time=BEGAN + step)]


def write_healthy(root: Path, run_id: str = "ppo-healthy", **fields: Any) -> Path:
    """A PPO run of 26 updates that ended well."""
    directory = write_record(root, run_id, **fields)
    events: list[Event] = [Started(plugin="ppo", total_steps=26), StateChanged(state="running")]
    events.append(Check(name="kl_before_first_update", status="ok", figure=0.0, tolerance=0.0))
    for step in range(1, 27):
        events += ppo_update(step)
    append_events(directory, [*events, StateChanged(state="finished", step=26), Finished(exit_code=0, step=26)])
    samples = [
        Sample(
            seq=step, step=step, tag="rollout", index=0, prompt=PROMPT, response=f"{RESPONSE} update {step}",
            reference="call your sister", ended=step % 2 == 0,
            metrics={"score": step / 10, "kl/sequence_nats": step / 20, "response_tokens": 9.0},
        )
        for step in range(1, 27)
    ]  # fmt: skip
    append(directory, "samples.jsonl", *map(encode_line, samples))
    write_exit(directory, State.FINISHED)
    return directory


def write_spoiled(root: Path, run_id: str = "ppo-spoiled") -> Path:
    """A run with NaN, text that would control a terminal, and a plugin that is gone; it diverged."""
    directory = write_record(root, run_id, plugin="vanished", profile=HOSTILE)
    events: list[Event] = [Started(plugin="vanished", total_steps=40), StateChanged(state="running")]
    for step in range(1, 13):
        events += ppo_update(step, spoiled=True)
    events.append(Alert(severity="warning", code="kl", message=HOSTILE, advice="lower the learning rate"))
    append_events(directory, events)
    sample = Sample(seq=1, tag="rollout", index=0, prompt=HOSTILE, response=HOSTILE, reference=HOSTILE)
    append(directory, "samples.jsonl", encode_line(sample), b"damaged\n", b'{"half": ')
    write_exit(directory, State.FAILED, exit_code=4, reason=f"loss is not finite {HOSTILE}")
    return directory


def write_pipeline(root: Path) -> Path:
    """A pipeline whose first stage is finished, whose second runs, and whose third waits."""
    directory = write_record(root, "demo", plugin="pipeline", config={"stages": {"sft": {}, "ppo": {}, "eval": {}}})
    children = [
        ChildRun(stage="sft", run_id="demo.sft", state="finished"),
        ChildRun(stage="ppo", run_id="demo.ppo", state="running"),
    ]
    append_events(directory, [Started(plugin="pipeline", total_steps=3), StateChanged(state="running"), *children])
    write_healthy(root, "demo.ppo", pipeline="demo", stage="ppo")
    stage = write_record(root, "demo.sft", plugin="sft", pipeline="demo", stage="sft", created=time.time() - 700)
    losses: list[Event] = [
        MetricsLogged(values={"loss/nats_per_token": 2 / step}, seconds=1.0, step=step) for step in range(1, 9)
    ]
    result = Result(name="sft", data={"tables": [{"title": "Held out", "columns": ["loss"], "rows": [[0.42]]}]})
    append_events(stage, [Started(plugin="sft", total_steps=8), *losses, result, Finished(exit_code=0, step=8)])
    write_exit(stage, State.FINISHED)
    return directory


def machine_line(time_after: float, rss: int) -> bytes:
    moment = MachineSample(time=BEGAN + time_after, attempt=1, rss=rss, memory_available=0, disk_free=0)
    return msgspec.json.encode(moment) + b"\n"
