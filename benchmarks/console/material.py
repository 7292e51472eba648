"""Runs to look at, written as fast as a disk takes them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import msgspec

from rlhf_sdk.events import MetricsLogged, Started, StateChanged

BEGAN = 1.8e9
CHARTED = (
    "reward/score_mean", "kl/sequence_nats", "policy/entropy_nats", "loss/policy", "loss/value",
    "response/tokens_mean", "policy/clip_fraction", "value/explained_variance",
)  # fmt: skip
"""Metrics that stand in charts of their own; the first few fill a screen of 120 x 40."""

_encode = msgspec.json.Encoder().encode


def write_run(root: Path, run_id: str, *, rows: int, metrics: int, total: int = 0) -> Path:
    """A run of PPO that has logged so many rows, as its worker would have; the state is that of one never started."""
    directory = root / run_id
    directory.mkdir(parents=True)
    record = {"id": run_id, "plugin": "ppo", "config": {}, "created": BEGAN}
    (directory / "run.json").write_text(json.dumps(record))
    beginning = [Started(plugin="ppo", total_steps=total or rows, time=BEGAN), StateChanged(state="running")]
    with (directory / "events.jsonl").open("wb") as stream:
        stream.writelines(_encode(event) + b"\n" for event in beginning)
        stream.writelines(metric_lines(1, rows, metrics))
    return directory


def metric_lines(first: int, last: int, metrics: int) -> Iterator[bytes]:
    """Waves of several lengths with a ripple, so that every column of a chart has a range."""
    names = (*CHARTED, *(f"other/{number}" for number in range(metrics)))[:metrics]
    for step in range(first, last + 1):
        ripple = 0.1 * math.sin(step)
        values = {name: math.sin(step * 0.001 * place) + ripple for place, name in enumerate(names, 1)}
        yield _encode(MetricsLogged(values=values, seconds=0.5, seq=step + 2, step=step, time=BEGAN + step / 2)) + b"\n"
