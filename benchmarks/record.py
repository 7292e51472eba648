"""How a result is kept: one JSON file a measurement, with the machine and versions that it was taken on."""

from __future__ import annotations

import json
import os
import platform
import re
import time
from pathlib import Path
from typing import Any

from rlhf_sdk.provenance import code_revision, installed_versions

RESULTS = Path(__file__).parent / "results"


CPU_INFO = Path("/proc/cpuinfo")
MATRIX_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16")


def machine() -> dict[str, Any]:
    """What a figure depends on besides the code."""
    about = CPU_INFO.read_text() if CPU_INFO.exists() else ""
    named = re.search(r"^model name\s*: (.*)$", about, flags=re.MULTILINE)
    flags = re.search(r"^flags\s*: (.*)$", about, flags=re.MULTILINE)
    return {
        "processor": named[1] if named else platform.processor() or platform.machine(),
        "matrix instructions": [flag for flag in MATRIX_FLAGS if flags and flag in flags[1].split()],
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
