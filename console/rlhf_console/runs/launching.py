"""A run in the making: plugin, profile, what differs from the profile, and what would come of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rlhf_console import plugins
from rlhf_console.profiles import PIPELINE, flatten, list_profiles, load_profile
from rlhf_console.requests import RunRequest, resolve_request
from rlhf_sdk import launch
from rlhf_sdk.discovery import installed_plugins
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.trainer import UserError

DEFAULT = "default"
TYPED = "--set"
DEMO = "demo"


@dataclass(frozen=True)
class Choice:
    """A plugin with a profile, or without one; `problem` says why it can't be used."""

    plugin: str
    profile: str
    problem: str = ""

    @property
    def name(self) -> str:
        return f"{self.plugin} · {self.profile}" if self.profile else self.plugin


@dataclass(frozen=True)
class Entry:
    """One key of the form: the value now, where it came from, what is allowed."""

    key: str
    value: Any
    origin: str
    allowed: str = ""
    description: str = ""

    @property
    def changed(self) -> bool:
        """Whether it differs from the profile."""
        return self.origin == TYPED


@dataclass
class Draft:
    """`settings` are what differs from the profile, by dotted key with the stage in front."""

    choice: Choice
    root: Path
    settings: dict[str, Any] = field(default_factory=dict)

    def request(self) -> RunRequest:
        """Raises `UserError` naming what is wrong."""
        given = [f"{key}={json.dumps(value)}" for key, value in self.settings.items()]
        return resolve_request(self.choice.plugin, self.choice.profile, given, [], None, self.root)

    def entries(self) -> list[Entry]:
        """Every key of every stage, those that were chosen first. Raises `UserError`."""
        request = self.request()
        found = []
        for name, (stage, config) in request.stages.items():
            options = {option["key"]: option for option in plugins.describe(stage.plugin)["options"]}
            for key, value in flatten(config).items():
                full, option = f"{name}.{key}", options.get(key, {})
                origin = TYPED if full in self.settings else _origin(request, name, key)
                found.append(Entry(full, value, origin, option.get("allowed", ""), option.get("description", "")))
        return sorted(found, key=lambda entry: entry.origin == DEFAULT)

    def plan(self) -> list[dict[str, Any]]:
        """Rows of the memory that it would need. Raises `UserError`."""
        request = self.request()
        return plugins.plan(request.plugin, request.config)

    def start(self) -> RunDir:
        """The run, started. Raises `UserError`."""
        run = self.request().create(self.root, name="", argv=["rlhf-console", self.choice.name])
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


def with_problems(found: list[Choice]) -> Iterator[list[Choice]]:
    """The same, whenever another plugin has turned out to be broken. Takes as long as the slowest plugin."""
    for plugin in plugins.each_plugin():
        if plugin.problem:
            found = [
                replace(choice, problem=plugin.problem) if choice.plugin == plugin.name else choice for choice in found
            ]
            yield found


def start_demo(root: Path, argv: list[str]) -> RunDir:
    """The demo pipeline, started. Raises `UserError`."""
    run = resolve_request(PIPELINE, DEMO, [], [], None, root).create(root, name=DEMO, argv=argv)
    launch.start(run)
    return run
