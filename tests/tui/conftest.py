"""Recorded run directories, made by hand: a healthy PPO run, and one with NaN and hostile text."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from rlhf_sdk.events import (
    Event,
    Finished,
    MetricsLogged,
    PhaseEnded,
    Sample,
    Started,
    StateChanged,
    encode_line,
)
from rlhf_sdk.run_record import RunRecord, encode_record

HOSTILE = "\x1b[31mred\x1b[0m [bold]not markup[/bold] \u202edlrow"


def write_run(root: Path, run_id: str, *, updates: int, spoiled: bool = False) -> Path:
    directory = root / run_id
    directory.mkdir(parents=True)
    record = RunRecord(id=run_id, plugin="ppo", config={"seed": 1}, created=time.time() - 60)
    (directory / "run.json").write_bytes(encode_record(record))
    (directory / "events.jsonl").write_bytes(b"".join(encode_line(event) for event in _events(updates, spoiled)))
    response = HOSTILE if spoiled else "my sister left . should i call her ?"
    sample = Sample(tag="rollout", index=0, prompt="POST: a", response=response, reference="b", metrics={"score": 1.5})
    (directory / "samples.jsonl").write_bytes(encode_line(sample))
    return directory


def _events(updates: int, spoiled: bool) -> list[Event]:
    events: list[Event] = [Started(plugin="ppo", total_steps=updates), StateChanged(state="running")]
    for step in range(1, updates + 1):
        values = {
            "reward/score_mean": math.nan if spoiled and step % 3 == 0 else step / 10,
            "kl/sequence_nats": math.inf if spoiled and step == 5 else step / 20,
            "policy/entropy_nats": 0.5 - step / 100,
        }
        events.append(PhaseEnded(name="rollout", seconds=0.5, memory={"rss": 2**30}, step=step))
        events.append(MetricsLogged(values=values, seconds=1.0, step=step, time=1e9 + step))
    return [*events, StateChanged(state="finished", step=updates), Finished(exit_code=0, step=updates)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_run(tmp_path, "ppo-healthy", updates=26)
    write_run(tmp_path, "ppo-spoiled", updates=12, spoiled=True)
    return tmp_path
