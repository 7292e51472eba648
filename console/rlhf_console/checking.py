"""A plugin's own check of a config, asked of a process that may import torch; rows come as they are found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from rlhf_console.answers import answers
from rlhf_sdk.spec import CheckRow


def check_rows(plugin: str, request: dict[str, Any], root: Path) -> Iterator[CheckRow]:
    """What the plugin finds of {"config", "stages"}; `root` is where runs are looked up.

    Raises `UserError` where it has no check or refuses the config, and `RunFailure` where its check breaks.
    """
    for answer in answers("rlhf_sdk.checking", plugin, request, root, f"the check of plugin {plugin!r}"):
        yield msgspec.convert(answer["row"], CheckRow, strict=False)
