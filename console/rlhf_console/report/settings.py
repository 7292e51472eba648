"""The settings of each run: those that were chosen, where they differ from published ones, and every one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlhf_console.profiles import Stage, flatten, load_profile, resolve_stage
from rlhf_console.report.document import Block, Section, Table, Text
from rlhf_console.report.naming import name_of
from rlhf_console.runs.store import LiveRun

PUBLISHED_PROFILE = "tldr-pythia-1b"
PUBLISHED = "Huang et al. 2024 (arXiv:2403.17031)"
NOT_COMPARED = (
    "model.",
    "reward_model.",
    "data.",
    "eval_data.",
    "norm_data.",
    "tokenizer.",
    "seed",
    "checkpoint_every",
)
"""What a run is about, rather than how it is done."""

PAGE = ("micro_batch_size", "rollout_batch_size", "memory_budget_gib", "threads", "device")
"""How the same result is fitted to a machine."""


def settings(runs: Sequence[LiveRun]) -> Section:
    """What somebody chose, run by run, what differs from the paper's settings, and every value to look up."""
    blocks: list[Block] = []
    for run in runs:
        name = name_of(run)
        if chosen := _chosen(run):
            blocks.append(Table(["key", "value", "from"], chosen, f"{name}: everything that is not a default"))
        blocks += _deviations(run, name)
        every = [[key, _plain(value)] for key, value in values_now(run).items()]
        blocks.append(Table(["key", "value"], every, f"{name}: every setting", folded=True))
    return Section("Settings", blocks)


def values_now(run: LiveRun) -> dict[str, Any]:
    """The config by dotted key, with what was set while the run went on."""
    return flatten(run.record.config) | {change.key: change.value for change in run.summary.values_set}


def _chosen(run: LiveRun) -> list[list[Any]]:
    origins = run.record.provenance | {change.key: f"set after step {change.step}" for change in run.summary.values_set}
    return [
        [key, _plain(value), origins[key]]
        for key, value in values_now(run).items()
        if origins.get(key, "default") != "default"
    ]


def published_values(plugin: str, keys: Sequence[str]) -> Mapping[str, Any]:
    """What the profile with the paper's settings says of this plugin's keys; nothing where it has no such stage."""
    profile = load_profile(PUBLISHED_PROFILE)
    if plugin not in {stage.plugin for stage in profile.stages} or plugin == "eval":
        return {}
    resolved = flatten(resolve_stage(profile, Stage(plugin, plugin), keys, {}).config)
    return {key: value for key, value in resolved.items() if not key.startswith((*NOT_COMPARED, *PAGE))}


def _deviations(run: LiveRun, name: str) -> list[Block]:
    published = published_values(run.record.plugin, list(run.record.config))
    if not published:
        return []
    values = values_now(run)
    differing = [
        [key, _plain(values.get(key)), _plain(value)] for key, value in published.items() if values.get(key) != value
    ]
    if not differing:
        return [Text(f"{name}: every setting that {PUBLISHED} names is theirs.")]
    caption = (
        f"{name}: where it differs from {PUBLISHED}; the other {len(published) - len(differing)} settings are theirs"
    )
    return [Table(["key", "here", "published"], differing, caption)]


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return value if isinstance(value, int | float | None) and not isinstance(value, bool) else str(value)
