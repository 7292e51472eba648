"""Kill points, ends and full disks for every built-in trainer; the result goes to benchmarks/results/torture.json."""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.record import record
from benchmarks.torture.attempts import in_a_fork
from benchmarks.torture.material import Material, build_models
from benchmarks.torture.trial import Config, Trial
from rlhf_sdk.discovery import load_spec

POINTS = {"ppo": 200}
OTHERS = 50
FULL_DISKS = {"echo": 200, "sft": 40, "ppo": 20}
"""At how many writes the disk is full; more than there are (echo) means at each."""
PLUGINS = ("echo", "sft", "ppo", "pretrain", "rm", "rloo", "grpo", "dpo", "ipo", "kto", "distil", "eval", "pipeline")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.torture", description=__doc__)
    parser.add_argument("plugins", nargs="*", metavar="PLUGIN", help=f"of {', '.join(PLUGINS)}; default: all")
    parser.add_argument("--share", type=float, default=1.0, help="of the usual number of points")
    parser.add_argument("--seed", type=int, default=0, help="of the points")
    parser.add_argument("--folder", type=Path, help="where runs that went wrong stay; default: a temporary folder")
    parser.add_argument("--json", type=Path, help="where the figures go; default: benchmarks/results/torture.json")
    parser.add_argument("--quiet", action="store_true", help="a line for each plugin, none for each point")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    preload()
    with tempfile.TemporaryDirectory() as temporary:
        found = torture_all(options, (options.folder or Path(temporary)).absolute())
    raise SystemExit(1 if any(figures["mismatches"] for figures in found.values()) else 0)


def preload() -> None:
    """Everything that a worker imports, so that forked ones begin at once."""
    for name in PLUGINS:
        import_module(load_spec(name).trainer.partition(":")[0])
    gc.freeze()


def torture_all(options: argparse.Namespace, folder: Path) -> dict[str, Config]:
    """The figures of each plugin, written whenever another one is done."""
    in_a_fork(lambda: build_models(folder / "models"))
    material = Material(folder / "models")
    found: dict[str, Config] = {}
    for plugin in options.plugins or PLUGINS:
        found[plugin] = torture(plugin, material.config(plugin), folder, options)
        write({"seed": options.seed, "plugins": found}, options.json)
    return found


def torture(plugin: str, config: Config, folder: Path, options: argparse.Namespace) -> Config:
    began = time.perf_counter()
    trial = Trial(folder, plugin, config, say=_say_nothing if options.quiet else _say)
    trial.kill_points(round(options.share * POINTS.get(plugin, OTHERS)), options.seed)
    trial.full_disks(round(options.share * FULL_DISKS.get(plugin, 0)), options.seed)
    _say(f"{trial.found.summary()}, {time.perf_counter() - began:.0f} s")
    return trial.found.as_figures()


def write(figures: dict[str, Any], file: Path | None) -> None:
    if file is None:
        record("torture", figures)
    else:
        file.write_text(json.dumps(figures, indent=2))


def _say(text: str) -> None:
    print(text, flush=True)


def _say_nothing(text: str) -> None:
    pass


if __name__ == "__main__":
    main()
