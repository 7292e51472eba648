"""A run in the making: plugin, profile, what differs from the profile, and what would come of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rlhf_console import plugins
from rlhf_console.again import Again
from rlhf_console.checking import check_rows
from rlhf_console.gpus import Target
from rlhf_console.planned import planned, stages_linked
from rlhf_console.profiles import PIPELINE, flatten, list_profiles, load_profile
from rlhf_console.requests import RunRequest, resolve_request
from rlhf_sdk import launch
from rlhf_sdk.discovery import installed_plugins
from rlhf_sdk.launching import placing
from rlhf_sdk.launching.contract import LOCAL
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.spec import CheckRow
from rlhf_sdk.trainer import UserError

DEFAULT = "default"
TYPED = "--set"
DEMO = "demo"


@dataclass(frozen=True)
class Choice:
    """A plugin with a profile, or without one; `about` is the plugin in a line, `problem` why it can't be used."""

    plugin: str
    profile: str
    about: str = field(default="", compare=False)
    problem: str = ""

    @property
    def name(self) -> str:
        return f"{self.plugin} · {self.profile}" if self.profile else self.plugin


@dataclass(frozen=True)
class Entry:
    """One key of the form: the value now, where it came from, what is allowed.

    `before`: what it was, where it was changed; `choices`: all that it may be, where that is a few values.
    """

    key: str
    value: Any
    origin: str
    before: Any = None
    allowed: str = ""
    choices: tuple[Any, ...] = ()
    description: str = ""

    @property
    def changed(self) -> bool:
        """Whether it differs from the profile, or from the run that is repeated."""
        return self.origin == TYPED


@dataclass(frozen=True)
class Draft:
    """A plugin with a profile, or (`again`) a run once more, and what differs from that.

    `settings` has it by dotted key with the stage in front, `before` what the same keys were.
    """

    choice: Choice
    root: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, Any] = field(default_factory=dict)
    again: Again | None = None

    @property
    def name(self) -> str:
        return self.again.name if self.again else self.choice.name

    @cached_property
    def request(self) -> RunRequest:
        """Raises `UserError` naming what is wrong."""
        given = [f"{key}={json.dumps(value)}" for key, value in self.settings.items()]
        if self.again is not None:
            return self.again.request(given)
        return resolve_request(self.choice.plugin, self.choice.profile, given, [], None, self.root)

    def with_value(self, entry: Entry, value: Any) -> Draft:
        before = {entry.key: entry.value} | dict(self.before)
        return replace(self, settings={**self.settings, entry.key: value}, before=before)

    def without(self, key: str) -> Draft:
        """The key as it was."""
        return replace(self, settings={other: value for other, value in self.settings.items() if other != key})

    def entries(self) -> list[Entry]:
        """Every key of every stage, those that were chosen first. Raises `UserError`."""
        found = []
        for name, (stage, config) in self.request.stages.items():
            options = {option["key"]: option for option in plugins.describe(stage.plugin)["options"]}
            found += [self._entry(name, key, value, options.get(key, {})) for key, value in flatten(config).items()]
        return sorted(found, key=lambda entry: (not entry.changed, entry.origin == DEFAULT))

    def _entry(self, stage: str, key: str, value: Any, option: Mapping[str, Any]) -> Entry:
        full = f"{stage}.{key}"
        return Entry(
            full,
            value,
            TYPED if full in self.settings else _origin(self.request, stage, key),
            before=self.before.get(full),
            allowed=option.get("allowed", ""),
            choices=tuple(option.get("choices", ())),
            description=option.get("description", ""),
        )

    def plan(self, target: Target) -> dict[str, Any]:
        """A `PlanAdvice` as plain data. Raises `UserError`, also where the plugin has no plan."""
        request = self.request
        return planned(request.plugin, request.config, stages_linked(request), target, self.root)

    def check(self) -> Iterator[CheckRow]:
        """What the plugin finds when it tries the config, row by row. Raises `UserError` or `RunFailure`."""
        request = self.request
        asked = {"config": request.config, "stages": stages_linked(request)}
        return check_rows(request.plugin, asked, self.root)

    def start(self) -> RunDir:
        """The run, started, or placed by whom the run that is repeated was. Raises `UserError`."""
        argv = ["rlhf-console", self.name]
        if self.again is not None:
            run = self.again.create(self.request, self.root, argv)
            launch.begin(run, self.again.options(), placing.choice_of(self.again.run) or LOCAL)
        else:
            run = self.request.create(self.root, name="", argv=argv)
            launch.start(run)
        return run


def _origin(request: RunRequest, stage: str, key: str) -> str:
    full = f"stages.{stage}.config.{key}" if request.plugin == PIPELINE else key
    return request.provenance.get(full, DEFAULT)


def choices() -> list[Choice]:
    """Each profile's pipeline and stages, then the plugins by themselves; nobody is asked."""
    found = []
    for name in list_profiles():
        try:
            stages = load_profile(name).stages
        except UserError:
            continue
        if stages:
            found.append(Choice(PIPELINE, name))
        found += [Choice(stage.plugin, name) for stage in stages]
    alone = [Choice(name, "") for name in sorted(installed_plugins()) if name != PIPELINE]
    return list(dict.fromkeys([*found, *alone]))


def with_answers(found: list[Choice]) -> Iterator[list[Choice]]:
    """The same, whenever another plugin has said what it is. Takes as long as the slowest plugin."""
    for plugin in plugins.each_plugin():
        found = [
            replace(choice, about=plugin.summary, problem=plugin.problem) if choice.plugin == plugin.name else choice
            for choice in found
        ]
        yield found


def draft_again(again: Again, root: Path) -> Draft:
    """Raises `UserError` for a damaged record."""
    record = again.run.record()
    return Draft(Choice(record.plugin, record.profile), root, again=again)


def start_demo(root: Path, argv: list[str]) -> RunDir:
    """The demo pipeline, started. Raises `UserError`."""
    run = resolve_request(PIPELINE, DEMO, [], [], None, root).create(root, name=DEMO, argv=argv)
    launch.start(run)
    return run
