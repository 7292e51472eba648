"""Is the reward model fit to be maximised: its figures, and the verdict of a readiness report where one was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from rlhf_console.report.document import Block, Section, Table, Text
from rlhf_console.report.naming import name_of
from rlhf_console.runs.store import LiveRun

READINESS, HELD_OUT = "readiness", "reward_model"
"""Results of an evaluation of a reward model, and of its training."""

MISSING = (
    "No readiness report (accuracy by length and source, calibration, baselines, a verdict) was made of it: profile "
    "demo-readiness has one before PPO, and rlhf run eval --set eval.what=reward_model makes one "
    "(docs/reward_models.md)."
)


def reward_model(runs: Sequence[LiveRun]) -> Section:
    """What its training found on held-out pairs, and the readiness report's lights and tables."""
    blocks: list[Block] = []
    for run in runs:
        held_out = run.summary.results.get(HELD_OUT)
        if isinstance(held_out, Mapping):
            blocks.append(Table(["figure", "value"], list(held_out.items()), f"{name_of(run)}: on held-out pairs"))
    judged = [run for run in runs if READINESS in run.summary.results]
    for run in judged:
        # Other people's plugins may mean something else by the name.
        with suppress(KeyError, TypeError, AttributeError):
            tables = run.summary.results[READINESS]["tables"]
            blocks += [Table(table["columns"], table["rows"], f"{name_of(run)}: {table['title']}") for table in tables]
    if blocks and not judged:
        blocks.append(Text(MISSING))
    return Section("The reward model", blocks)


def verdict_of(run: LiveRun) -> str:
    """ "PPO on this reward model: ready", say; empty where the run is no readiness report."""
    with suppress(KeyError, TypeError, AttributeError, IndexError):
        return str(run.summary.results[READINESS]["tables"][0]["title"])
    return ""
