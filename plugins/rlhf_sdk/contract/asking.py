"""The kit, asked in a process of its own: for people, and for a plugin's own tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from rlhf_sdk.contract.finding import Finding, Request
from rlhf_sdk.contract.project import import_path, read_project
from rlhf_sdk.discovery import find_plugin
from rlhf_sdk.trainer import UserError


class Target(msgspec.Struct, frozen=True):
    """The plugins to check, and folders that their processes need to find them."""

    plugins: list[str]
    folders: list[str] = []


@contextmanager
def target_of(place: str | Path) -> Iterator[Target]:
    """A folder with a pyproject.toml, or the name of an installed plugin. Raises `UserError` if it is neither."""
    folder = Path(place)
    if not folder.is_dir():
        find_plugin(str(place))
        yield Target([str(place)])
        return
    project = read_project(folder)
    with import_path(project) as folders:
        yield Target(sorted(project.points), folders)


def ask(target: Target, requests: Sequence[Request]) -> Iterator[Finding]:
    """What the kit finds, as it is found. Raises `UserError` for a wrong request, or where the kit itself breaks."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*target.folders, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-P", "-m", "rlhf_sdk.contract"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(msgspec.json.encode(requests))
        process.stdin.close()
        for line in process.stdout:
            yield msgspec.json.decode(line, type=Finding)
        said = process.stderr.read().decode(errors="replace").strip()
    if process.returncode:
        raise UserError(said.splitlines()[-1] if said else f"the contract kit ended with {process.returncode}")


def check_plugin(place: str | Path, rules: Sequence[str] = (), **config: object) -> list[Finding]:
    """What the kit finds of the plugins of a source folder, or of an installed one.

    `config` has what is not the default.
    Raises `UserError` if there is no such plugin or rule.
    """
    with target_of(place) as target:
        requests = [Request(plugin=plugin, config=dict(config), rules=list(rules)) for plugin in target.plugins]
        return list(ask(target, requests))
