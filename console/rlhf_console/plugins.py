"""Installed plugins, listed without importing them; what they declare is asked of a `describe` process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from queue import SimpleQueue
from threading import BoundedSemaphore, Thread
from typing import Any, Literal

import msgspec

from rlhf_console.described import store, stored
from rlhf_sdk.discovery import distribution_of, entry_points_of_plugins, find_plugin
from rlhf_sdk.planning import ALONE, PlanDevice, PlanRanks
from rlhf_sdk.run_root import ENVIRONMENT
from rlhf_sdk.trainer import UserError

TIMEOUT_SECONDS = 30.0
DESCRIBE_SECONDS = 15.0
SLOTS = BoundedSemaphore(4)
"""Plugins are asked side by side, since one that hangs must not keep the others waiting, but not all at once."""


class _Waiting:
    """Processes that have not answered, and how often everybody has ceased to wait."""

    def __init__(self) -> None:
        self.processes: set[subprocess.Popen[str]] = set()
        self.given_up = 0


_waiting = _Waiting()


@dataclass(frozen=True)
class Plugin:
    """A row of the plugin list: `problem` says why one that is broken, or missing here, can't be used."""

    name: str
    distribution: str
    version: str
    state: Literal["ok", "broken", "missing"] = "ok"
    summary: str = ""
    problem: str = ""
    kind: Literal["trainer", "launcher"] = "trainer"


def describe(name: str, among: EntryPoints | None = None) -> dict[str, Any]:
    """What the plugin declares: summary, config schema, panels, headline, capabilities; cached.

    `among`: entry points that are known already.

    Raises `UserError` for an unknown or broken plugin, with the cause.
    """
    point = find_plugin(name, among)
    kept = stored(point)
    if kept is not None:
        return kept
    given_up = _waiting.given_up
    with SLOTS:
        if _waiting.given_up > given_up:
            raise UserError(f"plugin {name!r}: nobody waits for its answer any more")
        described = _ask(name, seconds=DESCRIBE_SECONDS)
    store(point, described)
    return described


def validate(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """The complete config with every default. Raises `UserError` naming the key that is wrong."""
    answer = _ask(name, "--validate", stdin=config)
    resolved: dict[str, Any] = answer["config"]
    return resolved


def plan(name: str, config: dict[str, Any], root: Path | None = None, ranks: int = 1) -> list[dict[str, Any]]:
    """Rows of the memory that a run would need: what, phase, bytes; of several `ranks`, that one of them would need.

    None if the plugin has no plan. References to other runs are looked up in `root`, else in $RLHF_RUNS.
    """
    asked: dict[str, Any] = config
    if ranks > 1:
        device, together = PlanDevice(memory=0), PlanRanks(processes=ranks)
        asked = {"config": config, "stages": {}, "device": device, "ranks": together}
    action = "--advise" if ranks > 1 else "--plan"
    rows: list[dict[str, Any]] = _ask(name, action, stdin=msgspec.to_builtins(asked), root=root).get("rows", [])
    return rows


def cost(name: str, config: dict[str, Any]) -> list[str]:
    """What a run would spend, in sentences; none if the plugin spends nothing that it knows of."""
    if not describe(name)["cost"]:
        return []
    sentences: list[str] = _ask(name, "--cost", stdin=config)["sentences"]
    return sentences


def advise(
    name: str,
    config: dict[str, Any],
    stages: dict[str, dict[str, Any]],
    device: PlanDevice,
    root: Path,
    ranks: PlanRanks = ALONE,
) -> dict[str, Any]:
    """A `PlanAdvice` as plain data; its rows alone, or none, if the plugin has no more to say.

    `stages`: what links to stages that are still in `config` would become; `root`: where other runs are looked up.
    """
    asked = {"config": config, "stages": stages, "device": device, "ranks": ranks}
    return _ask(name, "--advise", stdin=msgspec.to_builtins(asked), root=root)


def list_plugins() -> list[Plugin]:
    """Every installed plugin by name; a broken one is a row with its cause."""
    return sorted(each_plugin(), key=lambda plugin: plugin.name)


def each_plugin() -> Iterator[Plugin]:
    """Every installed plugin as soon as it has answered, or has not in time."""
    among, answers = entry_points_of_plugins(), SimpleQueue[Plugin]()
    points = {point.name: point for point in among}.values()
    for point in points:
        Thread(target=lambda asked=point: answers.put(_row(asked, among)), daemon=True).start()
    for _ in points:
        yield answers.get()


def _row(point: EntryPoint, among: EntryPoints) -> Plugin:
    distribution = distribution_of(point)
    origin = (distribution.name, distribution.version) if distribution else ("", "")
    try:
        return Plugin(point.name, *origin, summary=describe(point.name, among)["summary"])
    except UserError as error:
        return Plugin(point.name, *origin, state="broken", problem=str(error))


def _ask(
    name: str,
    *arguments: str,
    stdin: dict[str, Any] | None = None,
    seconds: float = TIMEOUT_SECONDS,
    root: Path | None = None,
) -> dict[str, Any]:
    environment = os.environ | ({ENVIRONMENT: str(root)} if root else {})
    command = [sys.executable, "-P", "-m", "rlhf_sdk.describe", name, *arguments]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
    )
    with process:
        _waiting.processes.add(process)
        try:
            said, complaints = process.communicate(json.dumps(stdin or {}), timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise UserError(f"plugin {name!r}: no answer to `describe` within {seconds:.0f} s") from None
        finally:
            _waiting.processes.discard(process)
    answer = _last_object(said)
    if answer is None:
        last_words = (complaints.strip().splitlines() or ["nothing on stderr"])[-1]
        raise UserError(f"plugin {name!r} is broken: `describe` ended with {process.returncode}: {last_words}")
    if "error" in answer:
        raise UserError(str(answer["error"]["message"]))
    return answer


def stop_asking() -> None:
    """Ends the processes that have not answered, and begins none for those who wait already."""
    _waiting.given_up += 1
    for process in list(_waiting.processes):
        process.kill()


def _last_object(text: str) -> dict[str, Any] | None:
    """The JSON object on the last line; None if there is none."""
    try:
        found = json.loads((text.strip().splitlines() or [""])[-1])
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
