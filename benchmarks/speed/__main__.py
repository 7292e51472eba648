"""`python -m benchmarks speed [STAGE ...]`: the stages beside their peers, in turns."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.speed.options import parse
from rlhf_plugins import BEFORE_TORCH

CHECKOUT = Path(__file__).parents[2]


def main(arguments: Sequence[str]) -> int:
    """Measures in a process of its own: libraries read the environment when they are loaded."""
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.speed.session", folder, *arguments]
        return subprocess.run(command, env=os.environ | settled(folder, options.threads)).returncode


def settled(folder: str, threads: int) -> dict[str, str]:
    """Sleeping threads that are as many as asked for, nothing from the network, caches of its own.

    pyarrow's allocator would have a thread, which a fork loses.
    """
    roots = [CHECKOUT, CHECKOUT / "console", CHECKOUT / "plugins"]
    return {
        **BEFORE_TORCH,
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRL_EXPERIMENTAL_SILENCE": "1",
        "XDG_CACHE_HOME": folder,
        "HF_DATASETS_CACHE": folder,
        "JE_ARROW_MALLOC_CONF": "background_thread:false",
        "PYTHONPATH": os.pathsep.join(map(str, roots)),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
