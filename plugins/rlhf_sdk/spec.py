"""What a plugin declares about itself. Reading it imports neither torch nor the trainer."""

from __future__ import annotations

import msgspec

CONTRACT_VERSION = 1


class Panel(msgspec.Struct, frozen=True):
    """One chart of a run: a title and the metrics drawn in it, as names of `MetricsLogged.values`."""

    title: str
    metrics: list[str]
    unit: str = ""


class PlanRow(msgspec.Struct, frozen=True):
    """One line of a memory plan: what needs `bytes`, and in which phase ("always" for what stays)."""

    what: str
    phase: str
    bytes: int


class PluginSpec(msgspec.Struct, frozen=True, kw_only=True):
    """An entry point in the group `rlhf.trainers` names one of these.

    `config` is a frozen `msgspec.Struct` type whose fields carry constraints and help (`msgspec.Meta`); `trainer` is
    "module:attribute", imported in the worker only; `headline` lists the two or three metrics that matter, for
    progress lines and the run list; `capabilities` may name "checkpoint", "sample" and "interrupt" (can be saved in the
    middle of a step). `plan`, if any, is "module:function", called with a config in a `describe` process: the memory
    that a run of it would need, as a list of `PlanRow`.
    """

    name: str
    summary: str
    config: type
    trainer: str
    panels: list[Panel] = []
    headline: list[str] = []
    capabilities: list[str] = msgspec.field(default_factory=lambda: ["checkpoint"])
    plan: str = ""
    contract: int = CONTRACT_VERSION
