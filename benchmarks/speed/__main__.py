"""`python -m benchmarks speed [STAGE ...]`: the stages beside their peers, in turns."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.speed.paired import Measured, measure
from benchmarks.speed.stages import STAGES
from benchmarks.speed.task import SHAPES

DEFAULT_MODELS = ["tiny", "70m"]
QUICK_ROUNDS = 2


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks speed", description=__doc__)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"{', '.join(STAGES)}; default: all")
    parser.add_argument("--models", nargs="+", choices=list(SHAPES), help=f"default: {' '.join(DEFAULT_MODELS)}")
    parser.add_argument("--contenders", nargs="+", metavar="NAME", help="only these of a stage, such as own TRL")
    parser.add_argument("--rounds", type=int, help="turns of each contender that count; default: the stage's own")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help=f"the tiny model, {QUICK_ROUNDS} rounds, no record")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.stages if name not in STAGES]
    if unknown:
        parser.error(f"unknown stage {unknown[0]!r}; there is {', '.join(STAGES)}")
    models = options.models or (["tiny"] if options.quick else DEFAULT_MODELS)
    # The conductor's own products would get in the way of a turn.
    os.environ["OMP_NUM_THREADS"] = "1"
    found: list[Measured] = []
    with tempfile.TemporaryDirectory() as folder:
        for stage in (STAGES[name] for name in options.stages or STAGES):
            for model in (name for name in stage.models if name in models):
                rounds = options.rounds or (QUICK_ROUNDS if options.quick else stage.rounds[model])
                found.append(
                    measure(
                        stage,
                        SHAPES[model],
                        Path(folder),
                        rounds=rounds,
                        threads=options.threads,
                        device=options.device,
                        rates=not options.quick,
                        only=options.contenders,
                    )
                )
                print(found[-1].text(), flush=True)


if __name__ == "__main__":
    main()
