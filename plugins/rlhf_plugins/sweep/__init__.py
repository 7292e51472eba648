"""Many runs that differ in a few values and in their seeds, and a table over them."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from rlhf_plugins.pipeline import StageConfig
from rlhf_sdk.spec import Panel, PluginSpec


class SweepConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One base, and cells that differ from it. `rlhf sweep` writes it."""

    base: Annotated[StageConfig, Meta(description="the trainer of every cell, and the config that they share")]
    cells: Annotated[
        dict[str, StageConfig],
        Meta(description="the cells by name, in order; each config is what differs from the base"),
    ]
    rows: Annotated[
        dict[str, list[str]], Meta(description="point of the grid -> its cells, which differ in their seeds alone")
    ]
    slots: Annotated[
        int,
        Meta(
            ge=0,
            description="how many cells train at a time, each on GPUs of its own if there are several; 0: by the GPUs",
        ),
    ] = 0
    launcher: Annotated[str, Meta(description="who places the cells; see `rlhf plugins`")] = "local"
    launcher_options: Annotated[dict[str, Any], Meta(description="the launcher's options")] = {}


plugin = PluginSpec(
    name="sweep",
    summary="Many runs over a grid of values and several seeds, and a table of mean and interval",
    config=SweepConfig,
    trainer="rlhf_plugins.sweep.trainer:SweepTrainer",
    panels=[Panel("Cells", ["sweep/cells_finished"])],
    headline=["sweep/cells_finished"],
    capabilities=["checkpoint"],
)
