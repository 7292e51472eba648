"""What is installed is what constraints.txt pins; the make targets and metadata hang together."""

import os
import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).parents[2]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
DECLARED = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]


def pinned_versions() -> dict[str, str]:
    lines = [line for line in (CHECKOUT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def wanted_here(requirement: Requirement, extras: set[str]) -> bool:
    return requirement.marker is None or any(
        requirement.marker.evaluate({"extra": extra}) for extra in (extras or {""})
    )


def belongs_to_gpu_build(requirement: Requirement, below: Requirement) -> bool:
    """torch's GPU builds bring libraries of their own, each build others."""
    return requirement.name == "torch" and below.name.startswith(("nvidia-", "cuda-", "triton"))


def closure(requirements: list[str]) -> set[str]:
    """Names of everything that the requirements pull in on this machine."""
    names: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    seen: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        names.add(canonicalize_name(requirement.name))
        for text in metadata.requires(requirement.name) or []:
            below = Requirement(text)
            if wanted_here(below, requirement.extras) and not belongs_to_gpu_build(requirement, below):
                below.marker = None
                waiting.append(below)
    return names


def test_every_needed_package_is_pinned() -> None:
    assert closure(DECLARED) - set(pinned_versions()) == set()


def test_nothing_is_pinned_in_vain() -> None:
    assert set(pinned_versions()) - closure(DECLARED) == set()


def test_pins_satisfy_what_is_declared() -> None:
    pins = pinned_versions()
    for text in DECLARED:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), text


def test_every_dependency_has_its_reason_in_the_docs() -> None:
    page = (CHECKOUT / "docs" / "dependencies.md").read_text()
    missing = [name for name in (Requirement(text).name for text in DECLARED) if not re.search(rf"\b{name}\b", page)]
    assert missing == []


def test_every_entry_point_can_be_found() -> None:
    declared = PROJECT["entry-points"]["rlhf.trainers"]
    for target in declared.values():
        module = Path(*target.partition(":")[0].split("."))
        root = CHECKOUT / "plugins"
        assert (root / module).with_suffix(".py").is_file() or (root / module / "__init__.py").is_file(), target


def test_make_lists_its_targets() -> None:
    done = subprocess.run(["make", "help"], cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert {"demo", "test", "check", "bench", "clean"} <= set(re.findall(r"make (\w+)", done.stdout))


def test_an_old_python_is_named_with_a_way_out(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.1\n[ "$1" = --version ]\n')
    old.chmod(0o755)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).symlink_to(CHECKOUT / name)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    done = subprocess.run(
        ["make", "install", f"PYTHON={old}"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, env=environment,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Python 3.11 or newer is needed" in done.stdout
    assert "Python 3.8.1" in done.stdout


def test_ci_runs_the_same_tests_as_people_do() -> None:
    script = CHECKOUT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-1] == "make test"
