"""A plugin of one's own, begun: a small working project written from the template."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from rlhf_sdk.discovery import installed_plugins
from rlhf_sdk.trainer import UserError

TEMPLATE = Path(__file__).with_name("plugin_template")
NAME, MODULE = "example-plugin", "example_plugin"
_ALLOWED = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
LONGEST_NAME = 40


def module_name(name: str) -> str:
    """The package that a plugin of this name is in. Raises `UserError` if the name can't be used."""
    if not _ALLOWED.fullmatch(name) or len(name) > LONGEST_NAME:
        raise UserError(
            f"plugin name {name!r} can't be used: small letters and digits, words joined by '-' or '_', at most "
            f"{LONGEST_NAME}, a letter first"
        )
    module = name.replace("-", "_")
    if name in installed_plugins():
        raise UserError(f"there is a plugin {name!r} already; `rlhf plugins` lists them")
    if keyword.iskeyword(module) or module in sys.stdlib_module_names or find_spec(module) is not None:
        raise UserError(f"plugin name {name!r} can't be used: a Python module is called {module!r} already")
    return module


def write_plugin(name: str, into: Path) -> list[Path]:
    """The files of a new project `into`/`name`. Raises `UserError` if there is one, or it can't be written."""
    module, folder = module_name(name), into / name
    try:
        folder.mkdir(parents=True)
        return [_copy(file, folder, name, module) for file in _template_files()]
    except FileExistsError:
        raise UserError(f"{folder} is there already: choose another name, or another folder by --into") from None
    except OSError as error:
        raise UserError(f"{error.filename or folder} can't be written: {error.strerror}") from error


def _template_files() -> list[Path]:
    return sorted(file for file in TEMPLATE.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def _copy(file: Path, folder: Path, name: str, module: str) -> Path:
    copy = folder / str(file.relative_to(TEMPLATE)).replace(MODULE, module)
    copy.parent.mkdir(exist_ok=True)
    copy.write_text(file.read_text().replace(MODULE, module).replace(NAME, name))
    return copy
