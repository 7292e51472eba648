"""The peers' environments: a folder each, pinned, laid over this one's packages; made when first needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".venv-peers"
TRL_PPO, TRL = "trl==1.12.0", "trl==1.16.0"
"""The last release with PPO, and the current one."""


class NoPeer(Exception):
    """A peer that can't be installed; says why."""


def peer_path(pinned: str) -> Path:
    """Where the package `pinned` is, installed now if it is not there. Raises NoPeer."""
    folder = FOLDER / pinned.replace("==", "-")
    if not (folder / "trl").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        done = subprocess.run([*command, "--target", str(folder), pinned], capture_output=True, text=True)
        if done.returncode:
            reasons = done.stderr.strip().splitlines() or ["no reason given"]
            raise NoPeer(f"{pinned} can't be installed: {reasons[-1]}")
    return folder
