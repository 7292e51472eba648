"""How a result is kept: one JSON file a measurement, with the machine and versions that it was taken on."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from rlhf_sdk.provenance import code_revision, installed_versions

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """What a figure depends on besides the code."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system(),
    }


def record(name: str, figures: dict[str, Any]) -> Path:
    """Writes benchmarks/results/NAME.json and says so."""
    revision = code_revision()
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "commit": revision.revision if revision else None,
        "machine": machine(),
        "versions": installed_versions(),
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    file.write_text(json.dumps(about | figures, indent=2) + "\n")
    print(f"{name}: written to {file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file}")
    return file
