"""How late the console's loop is while a run writes very many events, and whether any is lost."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.console.material import metric_lines, write_run
from benchmarks.console.terminal import Terminal
from benchmarks.record import record

RATES = (0, 1_000, 10_000)
SECONDS = 12
BURST_SECONDS = 0.05
METRICS = 6


def main() -> None:
    figures = {}
    for rate in RATES:
        with tempfile.TemporaryDirectory() as folder:
            figures[str(rate)] = at_rate(Path(folder), rate)
            print(f"{rate} events a second: {figures[str(rate)]}")
    record("console-lag", {"load_average": os.getloadavg()[0], "metrics": METRICS, "events_a_second": figures})


def at_rate(root: Path, rate: int) -> dict[str, Any]:
    total = rate * SECONDS
    run = write_run(root / "runs", "ppo", rows=100, metrics=METRICS, total=total + 100)
    size = int(rate * BURST_SECONDS)
    bursts = [b"".join(metric_lines(start, start + size - 1, METRICS)) for start in range(101, 101 + total, size or 1)]
    out = root / "out.json"
    terminal = Terminal("benchmarks.console.probe", str(root / "runs"), "ppo", str(out), state=root / "state")
    terminal.seconds_until(lambda text: "Reward (points)" in text)
    before, began = terminal.cpu_seconds, time.monotonic()
    with (run / "events.jsonl").open("ab", buffering=0) as stream:
        for number in range(int(SECONDS / BURST_SECONDS)):
            if bursts:
                stream.write(bursts[number])
            terminal.run_for(max(began + (number + 1) * BURST_SECONDS - time.monotonic(), 0.0))
    elapsed = time.monotonic() - began
    cpu = 100 * (terminal.cpu_seconds - before) / elapsed
    last = f"step {total + 100}/"
    terminal.seconds_until(lambda text: last in text)
    terminal.close()
    found: dict[str, Any] = json.loads(out.read_text())
    lost = 100 + total - found.pop("points")
    return found | {"lost": lost, "cpu_percent": cpu, "written_a_second": total / elapsed}
