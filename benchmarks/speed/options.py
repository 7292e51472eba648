"""The command line of `python -m benchmarks speed`. Torch-free."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from benchmarks.speed.stages import GPU_MODELS, STAGES
from benchmarks.speed.task import SHAPES

DEFAULT_MODELS, QUICK_MODELS = ["tiny", "70m"], ["tiny"]
QUICK_ROUNDS = 2


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """With names of `stages` and `models`; exit code 2 for a stage that there is not."""
    parser = argparse.ArgumentParser(prog="benchmarks speed", description="Every stage beside its peer, in turns.")
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"{', '.join(STAGES)}; default: all")
    parser.add_argument(
        "--models",
        nargs="+",
        choices=list(SHAPES),
        help=f"default: {' '.join(DEFAULT_MODELS)}; on a GPU {' '.join(GPU_MODELS)}",
    )
    parser.add_argument("--contenders", nargs="+", metavar="NAME", help="only these of a stage, such as own TRL")
    parser.add_argument("--rounds", type=int, help="turns of each contender that count; default: the stage's own")
    parser.add_argument("--threads", type=int, default=1, help="of one contender; default: 1")
    parser.add_argument("--device", default="cpu", help="default: cpu")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"the tiny model, {QUICK_ROUNDS} rounds, no rates of the machine, no record",
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.stages if name not in STAGES]
    if unknown:
        parser.error(f"unknown stage {unknown[0]!r}; there is {', '.join(STAGES)}")
    options.stages = options.stages or list(STAGES)
    models = DEFAULT_MODELS if options.device == "cpu" else GPU_MODELS
    options.models = options.models or (QUICK_MODELS if options.quick else models)
    return options
