"""What a plugin is and whether a config suits it, in a process of its own: `python -m rlhf_sdk.describe NAME`.

Prints one JSON object. Without a flag: the declaration, with the config's JSON schema and its options in words.
`--validate` reads a config (JSON) from stdin and prints {"config": the complete config}; `--plan` prints the memory
plan, {"rows": [...]}; `--cost` prints what a run would spend in words, {"sentences": [...]}; `--advise` reads
{"config", "stages", "device", "ranks"} and prints a `PlanAdvice`. What is wrong comes as {"error": {"key", "message"}}
with exit code 2, or 3 if the plugin is broken.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from rlhf_sdk.config_errors import ConfigError, convert_config
from rlhf_sdk.config_types import options
from rlhf_sdk.discovery import distribution_of, find_plugin, load_attribute, load_spec
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.non_finite import spell_non_finite
from rlhf_sdk.planning import AdviceRequest, PlanDevice, PlanRanks
from rlhf_sdk.spec import PluginSpec
from rlhf_sdk.trainer import UserError

LONGEST_SECONDS = 60


def describe(spec: PluginSpec) -> dict[str, Any]:
    """The declaration as plain data."""
    return {
        "name": spec.name,
        "summary": spec.summary,
        "contract": spec.contract,
        "distribution": msgspec.to_builtins(distribution_of(find_plugin(spec.name))),
        "trainer": spec.trainer,
        "panels": msgspec.to_builtins(spec.panels),
        "headline": spec.headline,
        "sample_columns": msgspec.to_builtins(spec.sample_columns),
        "capabilities": spec.capabilities,
        "plan": bool(spec.plan),
        "cost": bool(spec.cost),
        "schema": msgspec.json.schema(spec.config),
        "options": msgspec.to_builtins(list(options(spec.config))),
        "sources": sources(),
    }


def sources() -> dict[str, tuple[int, int]]:
    """Every file outside the standard library that a module was imported from: its size, and when it was changed (ns).

    As long as these stay the same, so does the declaration.
    """
    library = Path(sysconfig.get_path("stdlib"))
    imported = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
    files = [path for path in map(Path, sorted(imported)) if path.is_absolute() and path.exists()]
    others = [path for path in files if not path.is_relative_to(library) or "site-packages" in path.parts]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in others}


def validate(spec: PluginSpec, config: dict[str, Any]) -> dict[str, Any]:
    """The config with every default filled in. Raises `ConfigError`."""
    return {"config": msgspec.to_builtins(convert_config(config, spec.config))}


def plan(spec: PluginSpec, config: dict[str, Any]) -> dict[str, Any]:
    """The plugin's memory plan; no rows if it has none. Raises `ConfigError`."""
    complete = convert_config(config, spec.config)
    return {"rows": msgspec.to_builtins(load_attribute(spec.plan)(complete)) if spec.plan else []}


def cost(spec: PluginSpec, config: dict[str, Any]) -> dict[str, Any]:
    """What a run would spend, if the plugin knows. Raises `ConfigError`."""
    complete = convert_config(config, spec.config)
    return {"sentences": load_attribute(spec.cost)(complete) if spec.cost else []}


def advise(spec: PluginSpec, asked: dict[str, Any]) -> dict[str, Any]:
    """The plugin's memory plan, and its advice for a device, if it gives any. Raises `ConfigError`."""
    if not spec.advice:
        return plan(spec, asked["config"])
    config = convert_config(asked["config"], spec.config)
    device, ranks = msgspec.convert(asked["device"], PlanDevice), msgspec.convert(asked["ranks"], PlanRanks)
    request = AdviceRequest(plugin=spec.name, config=config, device=device, ranks=ranks, stages=asked["stages"])
    found: dict[str, Any] = msgspec.to_builtins(load_attribute(spec.advice)(request))
    return found


def answer(arguments: list[str] | None) -> tuple[dict[str, Any], int]:
    """What to print, and the exit code."""
    options = _parse(arguments)
    try:
        spec = load_spec(options.name)
        if not options.action:
            return describe(spec), ExitCode.DONE
        config = msgspec.json.decode(sys.stdin.buffer.read(), type=dict[str, Any])
        return options.action(spec, config), ExitCode.DONE
    except ConfigError as error:
        return _error(str(error), key=error.key), ExitCode.USER_ERROR
    except (UserError, ValueError) as error:
        return _error(str(error)), ExitCode.USER_ERROR
    except (Exception, SystemExit) as error:
        cause = " ".join(str(error).split())
        return _error(f"plugin {options.name!r} is broken: {type(error).__name__}: {cause}"), ExitCode.PLUGIN_FAILED


def _error(message: str, key: str = "") -> dict[str, Any]:
    return {"error": {"key": key, "message": message}}


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="rlhf_sdk.describe", description="Describe a plugin as JSON.")
    parser.add_argument("name")
    actions = parser.add_mutually_exclusive_group()
    actions.add_argument("--validate", dest="action", action="store_const", const=validate)
    actions.add_argument("--plan", dest="action", action="store_const", const=plan)
    actions.add_argument("--cost", dest="action", action="store_const", const=cost)
    actions.add_argument("--advise", dest="action", action="store_const", const=advise)
    return parser.parse_args(arguments)


def main() -> None:
    print_apart(lambda: answer(None))


def print_apart(work: Callable[[], tuple[dict[str, Any], int]], *, longest_seconds: int = LONGEST_SECONDS) -> None:
    """Prints what `work` finds and ends with its exit code.

    What a plugin prints while it is imported is no part of the answer; what it leaves to do at exit is not done.
    One that hangs is ended, although whoever asked may be gone.
    """
    signal.alarm(longest_seconds)
    output = os.dup(1)
    os.dup2(2, 1)
    found, code = work()
    with os.fdopen(output, "wb") as stream:
        stream.write(msgspec.json.encode(spell_non_finite(found)) + b"\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
