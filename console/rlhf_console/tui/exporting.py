"""Charts as files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from rlhf_console.svg import svg_of
from rlhf_console.tui.drawing.lines import Line
from rlhf_console.tui.drawing.picture import picture_of
from rlhf_console.tui.drawing.plot import Frame
from rlhf_console.tui.drawing.png import png_of
from rlhf_console.tui.drawing.run_panels import RunLines
from rlhf_console.tui.drawing.table_file import csv_of
from rlhf_sdk.files import write_atomically
from rlhf_sdk.spec import Panel
from rlhf_sdk.trainer import UserError


def export_chart(panel: Panel, lines: Sequence[Line], runs: Sequence[RunLines], frame: Frame) -> Path:
    """Writes the chart as SVG, PNG and CSV into the current folder; the SVG's path. Raises `UserError`."""
    picture = picture_of(panel.title, panel.unit, lines, frame)
    contents = {"svg": svg_of(picture).encode(), "png": png_of(picture), "csv": csv_of(panel, runs, frame.options)}
    return write_files(f"{runs[0].run.live.record.id}-{panel.title}", contents)[0]


def write_files(stem: str, contents: Mapping[str, bytes]) -> list[Path]:
    """One file for each ending, in the current folder, with what of `stem` a file name may have.

    Raises `UserError` if one can't be written.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.")
    paths = [Path.cwd() / f"{name}.{ending}" for ending in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        try:
            write_atomically(path, content, durable=False)
        except OSError as error:
            raise UserError(f"{path} can't be written: {error.strerror}") from error
    return paths
