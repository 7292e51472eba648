"""Writes docs/options.md and docs/commands.md from the code that they document: `make docs`."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import typer

from rlhf_console.cli.main import app
from rlhf_sdk.config_types import Option, options
from rlhf_sdk.discovery import load_spec
from rlhf_sdk.spec import PluginSpec

DOCS = Path(__file__).parent
PLUGINS = sorted(entry.name for entry in entry_points(group="rlhf.trainers") if entry.value.startswith("rlhf_plugins."))

OPTIONS_INTRODUCTION = """# Options

Every key of every built-in plugin's config, what is allowed, and the default. This page is written by `make docs` from
the config types; `rlhf config PLUGIN` prints the same for any installed plugin. Set a key in a
[profile](profiles.md), or with `--set STAGE.KEY=VALUE`, such as `--set ppo.kl_coef=0.02`.

Sources: Ziegler et al. 2019 (arXiv:1909.08593), Stiennon et al. 2020 (arXiv:2009.01325), Huang et al. 2024
(arXiv:2403.17031).
"""
OPTIONS_HEADING = "| key | allowed | default | what it does | source |\n| --- | --- | --- | --- | --- |"

COMMANDS_INTRODUCTION = """# Commands

`rlhf` for scripts and SSH sessions, `rlhf-console` for the full screen. This page is written by `make docs` from the
command line itself.

Data goes to stdout and narration to stderr, so that `rlhf ls --json | jq` works while progress is shown; where stderr
is no terminal, progress is plain lines. RUN is an id, a unique beginning of one, a name, or `latest`. Exit codes:
[exit_codes.md](exit_codes.md). Shell completion: `rlhf --install-completion`.
"""
COMMANDS_HEADING = "| argument or option | what it does |\n| --- | --- |"


def cells(*texts: str) -> str:
    """One line of a table."""
    return f"| {' | '.join(' '.join(text.split()).replace('|', '/') for text in texts)} |"


def option_row(option: Option) -> str:
    """One key of a config."""
    default = "must be set" if option.required else f"`{json.dumps(option.default)}`"
    return cells(f"`{option.key}`", option.allowed, default, option.description, option.source)


def plugin_section(spec: PluginSpec) -> str:
    """One plugin's heading and table."""
    rows = [option_row(option) for option in options(spec.config)]
    return "\n".join([f"## {spec.name}\n\n{spec.summary}\n", OPTIONS_HEADING, *rows, ""])


def options_page() -> str:
    """docs/options.md"""
    return "\n".join([OPTIONS_INTRODUCTION, *(plugin_section(load_spec(name)) for name in PLUGINS)])


def parameter_row(parameter: Any) -> str:
    """One argument or option of a verb."""
    if parameter.param_type_name == "argument":
        names = parameter.metavar or parameter.name.upper()
    else:
        names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    return cells(f"`{names}`", parameter.help or "")


def verb_section(name: str, command: Any) -> str:
    """One verb's heading, help and table."""
    rows = [parameter_row(parameter) for parameter in command.params if parameter.name != "help"]
    return "\n".join([f"## rlhf {name}\n\n{command.help.strip()}\n", COMMANDS_HEADING, *rows, ""])


def commands_page() -> str:
    """docs/commands.md"""
    verbs: dict[str, Any] = getattr(typer.main.get_command(app), "commands", {})
    return "\n".join([COMMANDS_INTRODUCTION, *(verb_section(name, command) for name, command in verbs.items())])


PAGES = {"options.md": options_page, "commands.md": commands_page}

if __name__ == "__main__":
    for file, page in PAGES.items():
        (DOCS / file).write_text(page())
