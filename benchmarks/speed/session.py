"""`python -m benchmarks.speed.session FOLDER ...`: the stages one after another, in an environment that is settled."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.speed.contender import load_libraries
from benchmarks.speed.options import QUICK_ROUNDS, parse
from benchmarks.speed.paired import Measured, measure
from benchmarks.speed.stages import STAGES
from benchmarks.speed.task import SHAPES


def main() -> None:
    folder, options = Path(sys.argv[1]), parse(sys.argv[2:])
    load_libraries()
    found: list[Measured] = []
    for stage in (STAGES[name] for name in options.stages):
        for model in (name for name in stage.models if name in options.models):
            rounds = options.rounds or (QUICK_ROUNDS if options.quick else stage.rounds[model])
            measured = measure(
                stage,
                SHAPES[model],
                folder,
                rounds=rounds,
                threads=options.threads,
                device=options.device,
                rates=not options.quick,
                only=options.contenders,
            )
            print(measured.text(), flush=True)
            found.append(measured)


if __name__ == "__main__":
    main()
