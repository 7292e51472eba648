"""Installed plugins, listed without importing them; what they declare is asked of a `describe` process."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from queue import SimpleQueue
from threading import BoundedSemaphore, Thread
from typing import Any, Literal

import msgspec

from rlhf_sdk.discovery import distribution_of, find_plugin, installed_plugins
from rlhf_sdk.planning import PlanDevice
from rlhf_sdk.run_root import ENVIRONMENT
from rlhf_sdk.trainer import UserError

TIMEOUT_SECONDS = 30.0
DESCRIBE_SECONDS = 15.0
SLOTS = BoundedSemaphore(4)
"""Plugins are asked side by side, since one that hangs must not keep the others waiting, but not all at once."""
CACHE_FORMAT = 2
"""Another one whenever `describe` says more than it did."""


@dataclass(frozen=True)
class Plugin:
    """A row of the plugin list: `problem` says why one that is broken, or missing here, can't be used."""

    name: str
    distribution: str
    version: str
    state: Literal["ok", "broken", "missing"] = "ok"
    summary: str = ""
    problem: str = ""


def describe(name: str) -> dict[str, Any]:
    """What the plugin declares: summary, config schema, panels, headline, capabilities; cached.

    Raises `UserError` for an unknown or broken plugin, with the cause.
    """
    point = find_plugin(name)
    file = _cache_file(point)
    stored = _stored(file) if file is not None else None
    if stored is not None:
        return stored
    with SLOTS:
        described = _ask(name, seconds=DESCRIBE_SECONDS)
    if file is not None:
        _store(file, described)
    return described


def validate(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """The complete config with every default. Raises `UserError` naming the key that is wrong."""
    answer = _ask(name, "--validate", stdin=config)
    resolved: dict[str, Any] = answer["config"]
    return resolved


def plan(name: str, config: dict[str, Any], root: Path | None = None) -> list[dict[str, Any]]:
    """Rows of the memory that a run would need: what, phase, bytes; none if the plugin has no plan.

    References to other runs are looked up in `root`, else in $RLHF_RUNS.
    """
    rows: list[dict[str, Any]] = _ask(name, "--plan", stdin=config, root=root).get("rows", [])
    return rows


def advise(name: str, config: dict[str, Any], stages: dict[str, dict[str, Any]], device: PlanDevice) -> dict[str, Any]:
    """A `PlanAdvice` as plain data; its rows alone, or none, if the plugin has no more to say.

    `stages`: what links to stages that are still in `config` would become.
    """
    asked = {"config": config, "stages": stages, "device": msgspec.to_builtins(device)}
    return _ask(name, "--advise", stdin=asked)


def list_plugins() -> list[Plugin]:
    """Every installed plugin by name; a broken one is a row with its cause."""
    return sorted(each_plugin(), key=lambda plugin: plugin.name)


def each_plugin() -> Iterator[Plugin]:
    """Every installed plugin as soon as it has answered, or has not in time."""
    points, answers = list(installed_plugins().values()), SimpleQueue[Plugin]()
    for point in points:
        Thread(target=lambda asked=point: answers.put(_row(asked)), daemon=True).start()
    for _ in points:
        yield answers.get()


def _row(point: EntryPoint) -> Plugin:
    distribution = distribution_of(point)
    origin = (distribution.name, distribution.version) if distribution else ("", "")
    try:
        return Plugin(point.name, *origin, summary=describe(point.name)["summary"])
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
    try:
        done = subprocess.run(
            command,
            input=json.dumps(stdin or {}),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"plugin {name!r}: no answer to `describe` within {seconds:.0f} s") from None
    answer = _last_object(done.stdout)
    if answer is None:
        last_words = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        raise UserError(f"plugin {name!r} is broken: `describe` ended with {done.returncode}: {last_words}")
    if "error" in answer:
        raise UserError(str(answer["error"]["message"]))
    return answer


def _last_object(text: str) -> dict[str, Any] | None:
    """The JSON object on the last line; None if there is none."""
    try:
        found = json.loads((text.strip().splitlines() or [""])[-1])
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _cache_file(point: EntryPoint) -> Path | None:
    """Named by the distribution's version and the contents of the module that declares the plugin."""
    files = [file.locate() for file in (point.dist.files or [])] if point.dist else []
    module = point.value.partition(":")[0].replace(".", "/")
    sources = [Path(str(file)) for file in files if module in str(file) and str(file).endswith(".py")]
    if not sources or point.dist is None:
        return None
    digest = hashlib.sha256(f"{CACHE_FORMAT} {point.dist.name} {point.dist.version} {point.value}".encode())
    for source in sorted(sources):
        digest.update(source.read_bytes() if source.exists() else b"")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "rlhf" / "describe" / f"{point.name}-{digest.hexdigest()[:24]}.json"


def _stored(file: Path) -> dict[str, Any] | None:
    """What was kept; None if nothing was, or it is damaged."""
    try:
        return _last_object(file.read_text())
    except (OSError, UnicodeDecodeError):
        return None


def _store(file: Path, described: dict[str, Any]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_suffix(f".{os.getpid()}.tmp")
        aside.write_text(json.dumps(described))
        aside.rename(file)
    except OSError:
        return
