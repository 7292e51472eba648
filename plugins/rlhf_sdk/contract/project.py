"""A plugin's source folder, made visible to new processes as if it were installed."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rlhf_sdk.discovery import GROUP
from rlhf_sdk.trainer import UserError

PROJECT_FILE = "pyproject.toml"


@dataclass(frozen=True)
class Project:
    """`points` has what each plugin's entry point names; modules are looked for in `root`."""

    name: str
    version: str
    root: Path
    points: dict[str, str]


def read_project(folder: Path) -> Project:
    """Raises `UserError` if it has no pyproject.toml that declares a plugin."""
    file = folder / PROJECT_FILE
    try:
        table: dict[str, Any] = tomllib.loads(file.read_text()).get("project", {})
    except FileNotFoundError:
        raise UserError(f"{folder} has no {PROJECT_FILE}; a plugin that is installed is checked by its name") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is no TOML: {error}") from None
    points = table.get("entry-points", {}).get(GROUP, {})
    if not points:
        raise UserError(f'{file} declares no plugin: it needs [project.entry-points."{GROUP}"]')
    root = folder / "src" if (folder / "src").is_dir() else folder
    return Project(table.get("name", folder.name), table.get("version", "0"), root.absolute(), points)


@contextmanager
def import_path(project: Project) -> Iterator[list[str]]:
    """Folders for PYTHONPATH, while it lasts: the sources, and metadata that name the entry points."""
    with TemporaryDirectory(prefix="rlhf-plugin-") as site:
        metadata = Path(site) / f"{project.name.replace('-', '_')}-{project.version}.dist-info"
        metadata.mkdir()
        heading = f"Metadata-Version: 2.1\nName: {project.name}\nVersion: {project.version}\n"
        (metadata / "METADATA").write_text(heading)
        points = "".join(f"{name} = {target}\n" for name, target in project.points.items())
        (metadata / "entry_points.txt").write_text(f"[{GROUP}]\n{points}")
        yield [site, str(project.root)]
