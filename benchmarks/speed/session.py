"""`python -m benchmarks.speed.session FOLDER ...`: the stages one after another, in an environment that is settled."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.speed.contender import load_libraries
from benchmarks.speed.figures import entry, lines, same_work
from benchmarks.speed.kept import keep
from benchmarks.speed.options import QUICK_ROUNDS, parse
from benchmarks.speed.paired import measure
from benchmarks.speed.stages import STAGES
from benchmarks.speed.task import SHAPES


def main() -> int:
    """Exit code 1 if two sides that should do the same work don't."""
    folder, options = Path(sys.argv[1]), parse(sys.argv[2:])
    load_libraries()
    found = []
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
            found.append(entry(measured))
            print(lines(found[-1]), flush=True)
            if not options.quick:
                keep(found[-1])
    return 0 if all(map(same_work, found)) else 1


if __name__ == "__main__":
    sys.exit(main())
