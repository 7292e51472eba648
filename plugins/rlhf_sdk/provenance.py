"""What code a run was made with: versions from package metadata, and the commit. Nothing is imported."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rlhf_sdk.run_record import GitRevision

PACKAGES = ("rlhf-console", "torch", "transformers", "tokenizers", "datasets", "safetensors", "numpy", "msgspec")


def installed_versions() -> dict[str, str]:
    """Python's version and those of the packages that are installed."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def code_revision() -> GitRevision | None:
    """The commit of the checkout that this code runs from; None for an installed package."""
    here = Path(__file__)
    try:
        _git("ls-files", "--error-unmatch", here.name, folder=here.parent)
        revision = _git("rev-parse", "HEAD", folder=here.parent)
        changes = _git("status", "--porcelain", "--untracked-files=no", folder=here.parent)
    except (OSError, subprocess.SubprocessError):
        return None
    return GitRevision(revision=revision, dirty=bool(changes))


def _git(*arguments: str, folder: Path) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=5, stdin=subprocess.DEVNULL)
    return done.stdout.strip()
