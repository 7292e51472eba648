"""What a person has set for the console: `rlhf-console/console.toml` below $XDG_CONFIG_HOME, else below ~/.config."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from rlhf_sdk.config_errors import ConfigError, convert_config
from rlhf_sdk.spelling import nearest
from rlhf_sdk.trainer import UserError

ThemeName = Literal["dark", "light", "ansi", "colour-blind"]
THEME_VARIABLE = "RLHF_CONSOLE_THEME"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`keys` has the key, or several with commas between, of each action that shall have another one, by id."""

    theme: ThemeName = "dark"
    bell: bool = True
    keys: dict[str, str] = {}


def settings_file() -> Path:
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "rlhf-console" / "console.toml"


def load_settings() -> Settings:
    """The file's settings, or the defaults where there is none; $RLHF_CONSOLE_THEME goes before the file's theme.

    Raises `UserError` for what is not TOML, not known or not allowed.
    """
    file = settings_file()
    try:
        settings: Settings = convert_config(_read(file), Settings)
    except ConfigError as error:
        raise UserError(f"{file}: {error}") from None
    theme = os.environ.get(THEME_VARIABLE)
    return settings if not theme else msgspec.structs.replace(settings, theme=_theme(theme))


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not valid TOML: {error}") from None


def _theme(name: str) -> ThemeName:
    themes: tuple[ThemeName, ...] = get_args(ThemeName)
    for theme in themes:
        if theme == name:
            return theme
    raise UserError(f"{THEME_VARIABLE}={name!r}: must be one of {', '.join(themes)}.{nearest(name, themes)}")
