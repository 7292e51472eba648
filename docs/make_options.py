"""Writes docs/options.md from the configs of the built-in plugins: `make docs`."""

from __future__ import annotations

import json
from pathlib import Path

from rlhf_sdk.config_types import Option, options
from rlhf_sdk.discovery import load_spec
from rlhf_sdk.spec import PluginSpec

PLUGINS = ("pretrain", "sft", "rm", "ppo", "eval", "pipeline", "echo")
PAGE = Path(__file__).with_name("options.md")
INTRODUCTION = """# Options

Every key of every built-in plugin's config, what is allowed, and the default. This page is written by `make docs` from
the config types; `rlhf config PLUGIN` prints the same for any installed plugin. Set a key in a
[profile](profiles.md), or with `--set STAGE.KEY=VALUE`, such as `--set ppo.kl_coef=0.02`.

Sources: Ziegler et al. 2019 (arXiv:1909.08593), Stiennon et al. 2020 (arXiv:2009.01325), Huang et al. 2024
(arXiv:2403.17031).
"""
HEADING = "| key | allowed | default | what it does | source |\n| --- | --- | --- | --- | --- |"


def row(option: Option) -> str:
    """One line of a table."""
    default = "must be set" if option.required else f"`{json.dumps(option.default)}`"
    cells = (f"`{option.key}`", option.allowed, default, option.description, option.source)
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def section(spec: PluginSpec) -> str:
    """One plugin's heading and table."""
    rows = [row(option) for option in options(spec.config)]
    return "\n".join([f"## {spec.name}\n\n{spec.summary}\n", HEADING, *rows, ""])


def page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *(section(load_spec(name)) for name in PLUGINS)])


if __name__ == "__main__":
    PAGE.write_text(page())
