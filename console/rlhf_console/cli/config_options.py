"""Options of the verbs that make a run: what it is made of, and what happens to it then."""

from __future__ import annotations

from typing import Annotated

import typer

PluginArgument = Annotated[str, typer.Argument(help="A plugin's name, or pipeline; see `rlhf plugins`.")]
ProfileOption = Annotated[str, typer.Option("--profile", "-p", help="Profile name or TOML file.")]
SettingsOption = Annotated[
    list[str] | None, typer.Option("--set", help="STAGE.KEY=VALUE, such as ppo.kl_coef=0.02; repeatable.")
]
FromOption = Annotated[
    list[str] | None, typer.Option("--from", help="STAGE=RUN: use a finished run for a stage; repeatable.")
]
NameOption = Annotated[str, typer.Option("--name", help="Name of the run; part of its id.")]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="A sanity light that fails ends the run: checkpoint, exit code 4.")
]
DetachOption = Annotated[bool, typer.Option("--detach", help="Return at once; the run goes on.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print the resolved config, its origins, memory and cost expected.")
]
