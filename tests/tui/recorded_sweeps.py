"""Sweeps as their workers would have written them: seeds lie one apart, so that means and bands are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recorded import BEGAN, append_events, write_exit, write_record
from rlhf_sdk.events import Event, Finished, MetricsLogged, Result, Started, StateChanged
from rlhf_sdk.states import State

STEPS = 20
SPREAD = (-1.0, 0.0, 1.0)
"""What each seed adds; the half width of three values one apart is t(2) / sqrt(3)."""

HALF = 4.302653 / 3**0.5


def cell_values(step: int, weight: float, seed: int) -> dict[str, float]:
    base = weight * step
    return {
        "reward/score_mean": base + SPREAD[seed % 3],
        "kl/sequence_nats": base / 4,
        "policy/entropy_nats": 1.0 / step,
    }


def write_cell(root: Path, run_id: str, weight: float, seed: int, steps: int = STEPS, **fields: Any) -> Path:
    """Finished, if it got to the end."""
    directory = write_record(root, run_id, config={"weight": weight, "seed": seed}, seed=seed, **fields)
    events: list[Event] = [Started(plugin="ppo", total_steps=STEPS), StateChanged(state="running")]
    for step in range(1, steps + 1):
        values = cell_values(step, weight, seed)
        events.append(MetricsLogged(values=values, seconds=1.0, step=step, time=BEGAN + step))
    over = steps == STEPS
    append_events(directory, [*events, *([Finished(exit_code=0, step=steps)] if over else [])])
    write_exit(directory, State.FINISHED if over else State.STOPPED, exit_code=0 if over else 143)
    return directory


def write_sweep(
    root: Path, run_id: str = "swept", weights: Sequence[float] = (1, 2), seeds: int = 3, *, short: int = STEPS
) -> Path:
    """The last seed of the last point got no further than step `short`."""
    rows = {f"ppo.weight={w:g}": [f"weight-{w:g}-s{seed}" for seed in range(seeds)] for w in weights}
    names = [name for cells in rows.values() for name in cells]
    config = {
        "base": {"plugin": "ppo", "config": {}},
        "cells": {name: {"plugin": "ppo"} for name in names},
        "rows": rows,
        "slots": 2,
    }
    directory = write_record(root, run_id, plugin="sweep", config=config, created=BEGAN)
    data = {"tables": [], "rows": {}, "gain": "reward/score_mean", "cost": "kl/sequence_nats", "front": []}
    events = [Started(plugin="sweep", total_steps=len(names)), StateChanged(state="running"), Result("sweep", data)]
    append_events(directory, events)
    write_exit(directory, State.FINISHED)
    for place, name in enumerate(names):
        weight, seed = weights[place // seeds], place % seeds
        steps = short if name == names[-1] else STEPS
        fields = {"pipeline": run_id, "stage": name, "created": BEGAN + 1 + place}
        write_cell(root, f"{run_id}.{name}", weight, seed, steps, **fields)
    return directory
