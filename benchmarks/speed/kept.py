"""The record of all stages, benchmarks/results/speed.json: a stage on a model takes the place of its older figures."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.record import RESULTS, record

NAME = "speed"
KEY = ("stage", "model", "threads", "device")

Entry = dict[str, Any]


def keep(found: Entry) -> None:
    """Writes `found` beside what is there of other stages, models, threads and devices."""
    others = [entry for entry in kept() if any(entry[key] != found[key] for key in KEY)]
    record(NAME, {"measured": [*others, found]})


def kept() -> list[Entry]:
    """What was measured so far."""
    file = RESULTS / f"{NAME}.json"
    measured: list[Entry] = json.loads(file.read_text())["measured"] if file.exists() else []
    return measured
