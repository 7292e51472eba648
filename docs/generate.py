"""Writes docs/options.md, commands.md, and tables of other pages from the code and records: `make docs`."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from benchmarks.paper_tables import TABLES
from benchmarks.speed.table import comparison_table, conditions_table, trunk_table
from rlhf_console.cli.verbs import VERBS, load_verb
from rlhf_engine.checks import online, supervised, texts, weights
from rlhf_engine.checks.live import FEWEST, RECENT
from rlhf_engine.checks.rules import Rule
from rlhf_engine.hacking.detectors import DETECTORS, Detector
from rlhf_plugins.checking.findings import MEMORY
from rlhf_sdk.config_types import Option, options
from rlhf_sdk.discovery import load_spec
from rlhf_sdk.spec import PluginSpec

DOCS = Path(__file__).parent
PLUGINS = sorted(entry.name for entry in entry_points(group="rlhf.trainers") if entry.value.startswith("rlhf_plugins."))

OPTIONS_INTRODUCTION = """# Options

Every key of every built-in plugin's config, what is allowed, and the default. This page is written by `make docs` from
the config types; `rlhf config PLUGIN` prints the same for any installed plugin. Set a key in a
[profile](profiles.md), or with `--set STAGE.KEY=VALUE`, such as `--set ppo.kl_coef=0.02`. Keys that are marked (live)
can be changed while the run lives: `rlhf set RUN kl_coef=0.02`.

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

CHECKS_HEADING = "| light | threshold | figure | first look at |\n| --- | --- | --- | --- |"
DETECTORS_HEADING = "| alert | what is measured | fires | what to do |\n| --- | --- | --- | --- |"
RULES = {
    "every trainer": supervised.GRADIENT_RULES,
    "pretrain, sft": supervised.LANGUAGE_MODEL_RULES[len(supervised.GRADIENT_RULES) :],
    "rm": supervised.REWARD_MODEL_RULES[len(supervised.GRADIENT_RULES) :],
    "dpo, ipo, kto": supervised.PREFERENCE_RULES[len(supervised.GRADIENT_RULES) :],
    "pairs": supervised.PAIR_RULES,
    "ppo, rloo, grpo": (*online.ROLLOUT_RULES, online.RATIO, *online.UPDATE_RULES),
    "texts": texts.TEXT_RULES,
    "weights": weights.WEIGHT_RULES,
    "machine": (MEMORY,),
}
JUDGED = {
    "value": "",
    "over_first": "of the first update's",
    "over_median": f"times the median of the last {RECENT - 1} updates, once there are {FEWEST}",
    "recent_mean": f"mean of the last {RECENT} updates",
}


def cells(*texts: str) -> str:
    """One line of a table."""
    return f"| {' | '.join(' '.join(text.split()).replace('|', '/') for text in texts)} |"


def option_row(option: Option) -> str:
    """One key of a config."""
    default = "must be set" if option.required else f"`{json.dumps(option.default)}`"
    description = f"{option.description} (live)" if option.live else option.description
    return cells(f"`{option.key}`", option.allowed, default, description, option.source)


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


def verbs_section(name: str, command: Any) -> str:
    """A verb, or a group of them."""
    below: dict[str, Any] = getattr(command, "commands", {})
    if not below:
        return verb_section(name, command)
    sections = [verb_section(f"{name} {verb}", found) for verb, found in below.items()]
    return "\n".join([f"## rlhf {name}\n\n{command.help.strip()}\n", *(f"#{section}" for section in sections)])


def commands_page() -> str:
    """docs/commands.md"""
    return "\n".join([COMMANDS_INTRODUCTION, *(verbs_section(name, load_verb(name)) for name in VERBS)])


def rule_row(rule: Rule) -> str:
    """One light."""
    when = [
        JUDGED[rule.judged],
        f"from update {rule.from_update}" if rule.from_update > 1 else "",
        f"after {rule.from_share:.0%} of the run" if rule.from_share else "",
        f"first {rule.to_update} update only" if rule.to_update else "",
    ]
    threshold = "; ".join([rule.thresholds, *filter(None, when)])
    texts = (f"`{rule.name}`", threshold, f"`{rule.figure}`: {rule.meaning}", rule.look_at)
    return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in texts)} |"


def with_table(page: str, name: str, lines: list[str]) -> str:
    """The page with the table between `<!-- NAME -->` and `<!-- end -->` made anew."""
    begin, end = f"<!-- {name} -->\n", "<!-- end -->"
    before, found, rest = page.partition(begin)
    assert found, f"no table {begin}"
    return before + begin + "".join(f"{line}\n" for line in lines) + end + rest.partition(end)[2]


def checks_page() -> str:
    """docs/checks.md with its tables made anew."""
    page = (DOCS / "checks.md").read_text()
    for name, rules in RULES.items():
        page = with_table(page, name, [CHECKS_HEADING, *map(rule_row, rules)])
    return page


def detector_row(detector: Detector) -> str:
    """One detector of reward hacking."""
    shifts = [
        f"{detector.deviations:g} standard deviations of single SFT responses" if detector.deviations else "",
        f"{detector.least:g}" if detector.least else "",
        f"{detector.share:.0%} of SFT's mean" if detector.share else "",
    ]
    threshold = f"{detector.fires} SFT's mean by {', '.join(filter(None, shifts))}"
    return cells(f"`{detector.code}`", detector.meaning, threshold, detector.advice)


def hacking_page() -> str:
    """docs/reward_hacking.md with its table made anew."""
    page = (DOCS / "reward_hacking.md").read_text()
    return with_table(page, "detectors", [DETECTORS_HEADING, *map(detector_row, DETECTORS)])


def performance_page() -> str:
    """docs/performance.md with its tables made anew from the record."""
    page = with_table((DOCS / "performance.md").read_text(), "speed", comparison_table())
    page = with_table(page, "trunk", trunk_table())
    return with_table(page, "speed conditions", conditions_table())


def scaling_page() -> str:
    """docs/scaling_on_paper.md with its tables made anew."""
    page = (DOCS / "scaling_on_paper.md").read_text()
    for name, lines in TABLES.items():
        page = with_table(page, name, lines())
    return page


PAGES = {
    "options.md": options_page,
    "commands.md": commands_page,
    "checks.md": checks_page,
    "reward_hacking.md": hacking_page,
    "performance.md": performance_page,
    "scaling_on_paper.md": scaling_page,
}

if __name__ == "__main__":
    for file, page in PAGES.items():
        (DOCS / file).write_text(page())
