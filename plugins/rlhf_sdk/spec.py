"""What a plugin declares about itself. Reading it imports neither torch nor the trainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

CONTRACT_VERSION = 1


class Panel(msgspec.Struct, frozen=True):
    """One chart of a run: a title and the metrics drawn in it, as names of `MetricsLogged.values`."""

    title: str
    metrics: list[str]
    unit: str = ""


class SampleColumn(msgspec.Struct, frozen=True):
    """One column of a run's samples: a name of `Sample.metrics`, and a heading of at most eight characters."""

    metric: str
    title: str = ""


class PlanRow(msgspec.Struct, frozen=True):
    """One line of a memory plan: what needs `bytes`, and in which phase ("always" for what stays)."""

    what: str
    phase: str
    bytes: int


class CheckRow(msgspec.Struct, frozen=True):
    """One line of `rlhf check`: `figure` held against `tolerance`, a threshold in words.

    `meaning` says what the figure is, or why nothing was measured ("skipped"); `advice` what to do where it is not ok.
    """

    name: str
    state: Literal["ok", "warn", "fail", "skipped"]
    figure: float | None = None
    tolerance: str = ""
    meaning: str = ""
    advice: str = ""


class CheckRequest(msgspec.Struct, frozen=True):
    """What to check before a run: the plugin's name and its config, references to runs already resolved.

    `stages` has {"plugin", "config"} of each stage of the profile, by name: what a link "stage:NAME" that is still in
    the config would become.
    """

    plugin: str
    config: Any
    stages: Mapping[str, Mapping[str, Any]] = {}


class ScoreRequest(msgspec.Struct, frozen=True):
    """What to score: (prompt, response) each, by the model in a directory, as a run of `config` made it."""

    model: str
    config: Any
    texts: Sequence[tuple[str, str]]


class PluginSpec(msgspec.Struct, frozen=True, kw_only=True):
    """An entry point in the group `rlhf.trainers` names one of these.

    `config` is a frozen `msgspec.Struct` type whose fields carry constraints and help (`msgspec.Meta`); `trainer` is
    "module:attribute", imported in the worker only; `headline` lists the two or three metrics that matter, for progress
    lines and the run list; `sample_columns` which figures stand beside each sample; `capabilities` may name
    "checkpoint", and "ranks" where several processes can train one model together. `plan`, if any, is
    "module:function", called with a config in a `describe` process: the memory that a run would need, a list of
    `PlanRow`.
    `advice`, if any, is "module:function", called there with an `AdviceRequest`: what else `rlhf plan` says, as a
    `PlanAdvice`.
    `cost`, if any, is "module:function", called there with a config: sentences about the money that a run would spend.
    `check`, if any, is "module:function", called with a `CheckRequest` in a process of its own: it tries what a run
    would do, and yields a `CheckRow` for each finding.
    `score`, if any, is "module:function", called with a `ScoreRequest` in a process of its own: it yields for each text
    what every head of the trained model says of it, in order.
    """

    name: str
    summary: str
    config: type
    trainer: str
    panels: list[Panel] = []
    headline: list[str] = []
    sample_columns: list[SampleColumn] = []
    capabilities: list[str] = msgspec.field(default_factory=lambda: ["checkpoint"])
    plan: str = ""
    advice: str = ""
    cost: str = ""
    check: str = ""
    score: str = ""
    contract: int = CONTRACT_VERSION
