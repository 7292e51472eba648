"""Packages that only those need who exchange runs with their tools."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from rlhf_sdk.trainer import UserError

EXTRA = "rlhf-console[logs]"


def optional_module(name: str) -> Any:
    """The module called `name`. Raises `UserError` saying what to install."""
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise UserError(f"{package} is not installed ({error}); pip install '{EXTRA}'") from error
