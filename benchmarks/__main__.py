"""`python -m benchmarks [NAME ...]`: all measurements, or those named; what follows `speed` is for it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial

from benchmarks import (
    checkpointing,
    demo_seeds,
    hacking,
    iterate,
    launching,
    overoptimise,
    pause_latency,
    plan_accuracy,
    plan_ranks,
    precision,
    start_up,
    telemetry,
    update_parts,
    world_sizes,
)
from benchmarks.console import lag, live, long, runs, samples, slow_link, start
from benchmarks.scale import records, store, updates
from benchmarks.speed import __main__ as speed

BENCHMARKS: dict[str, Callable[[], object]] = {
    "start-up": start_up.main,
    "launching": launching.main,
    "checkpointing": checkpointing.main,
    "scale": updates.main,
    "scale-records": records.main,
    "scale-store": store.main,
    "pause-latency": pause_latency.main,
    "plan-accuracy": plan_accuracy.main,
    "plan-accuracy-probe": plan_accuracy.with_probe,
    "plan-ranks": plan_ranks.main,
    "precision": precision.main,
    "telemetry": telemetry.main,
    "world-sizes": world_sizes.main,
    "speed": partial(speed.main, []),
    "update-parts": update_parts.main,
    "console-start": start.main,
    "console-live": live.main,
    "console-lag": lag.main,
    "console-long": long.main,
    "console-slow-link": slow_link.main,
    "demo-seeds": demo_seeds.main,
    "hacking": hacking.main,
    "overoptimise": overoptimise.main,
    "console-samples": samples.main,
    "iterate": iterate.main,
    "console-runs": runs.main,
}


def main() -> None:
    if sys.argv[1:2] == ["speed"]:
        sys.exit(speed.main(sys.argv[2:]))
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measure; results go to benchmarks/results.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BENCHMARKS)}; default: all")
    names = parser.parse_args().names or list(BENCHMARKS)
    for name in names:
        if name not in BENCHMARKS:
            parser.error(f"unknown benchmark {name!r}; there is {', '.join(BENCHMARKS)}")
        BENCHMARKS[name]()


if __name__ == "__main__":
    main()
