"""Plain data as text: tables, figures, durations. Aligned columns that a pipe keeps; nothing from a run is markup."""

from __future__ import annotations

import math
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from rlhf_console.printable import printable
from rlhf_sdk.events import Alert, Check, Sample

LABEL, LONGEST_HEAD = 10, 18
"""Columns of the label before a text; behind a longer one the text begins on a line of its own."""

UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def duration(seconds: float | None) -> str:
    """12 s, 3 min 20 s, 2 h 5 min; a dash where it is unknown."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    whole = max(int(seconds), 0)
    for index, (size, unit) in enumerate(UNITS):
        if whole >= size:
            following = UNITS[index + 1] if index + 1 < len(UNITS) else None
            rest = whole % size // following[0] if following else 0
            return f"{whole // size} {unit}" + (f" {rest} {following[1]}" if following and rest else "")
    return "0 s"


def size(count: float) -> str:
    """Bytes as MiB or GiB."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def number(value: Any) -> str:
    """A figure with four significant digits; text as it is, made printable."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return printable(str(value))
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e6):
        return str(int(value))
    return f"{value:.4g}" if abs(value) < 1e-2 or abs(value) >= 1e4 else f"{value:.3f}"


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Aligned columns, numbers to the right."""
    columns = [printable(str(column)) for column in columns]
    cells = [[number(cell) for cell in row] for row in rows]
    widths = [max(len(column), *(len(row[i]) for row in cells), 0) for i, column in enumerate(columns)]
    right = [bool(rows) and all(isinstance(row[i], int | float | None) for row in rows) for i in range(len(columns))]

    def line(parts: Sequence[str]) -> str:
        aligned = [
            part.rjust(width) if to_right else part.ljust(width)
            for part, width, to_right in zip(parts, widths, right, strict=True)
        ]
        return "  ".join(aligned).rstrip()

    return "\n".join([line(columns), line(["-" * width for width in widths]), *map(line, cells)])


def folded(columns: Sequence[str], rows: Sequence[Sequence[Any]], width: int) -> str:
    """A table in as many blocks as `width` needs, each of whole columns behind the first."""
    blocks: list[list[int]] = [[0]]
    for column in range(1, len(columns)):
        wider = [*blocks[-1], column]
        if len(blocks[-1]) > 1 and len(_picked(columns, rows, wider).split("\n")[1]) > width:
            wider = [0, column]
            blocks.append(wider)
        blocks[-1] = wider
    return "\n\n".join(_picked(columns, rows, block) for block in blocks)


def _picked(columns: Sequence[str], rows: Sequence[Sequence[Any]], indices: Sequence[int]) -> str:
    return table([columns[i] for i in indices], [[row[i] for i in indices] for row in rows])


def lights(checks: Iterable[Check], *, width: int = 80) -> str:
    """Sanity lights, those that fail first; what is not ok with its meaning and what to look at."""
    worst_first = sorted(checks, key=lambda check: ("fail", "warn", "ok").index(check.status))
    rows = [[check.status, check.name, check.figure, check.tolerance] for check in worst_first]
    heading, ruler, *lines = table(["state", "light", "figure", "threshold"], rows).split("\n")
    shown = [heading, ruler]
    for check, line in zip(worst_first, lines, strict=True):
        shown.append(line)
        if check.status != "ok":
            text = printable(check.explanation)
            shown.append(textwrap.fill(text, width, initial_indent=" " * 7, subsequent_indent=" " * 7))
    return "\n".join(shown)


def result(name: str, data: dict[str, Any], *, width: int = 0) -> str:
    """A run's result: its tables and examples where it has them, else one figure a line; 0: the terminal's width."""
    width = width or shutil.get_terminal_size(fallback=(100, 24)).columns
    if "tables" in data:
        # Other people's plugins may mean something else by the name.
        with suppress(KeyError, TypeError, AttributeError, IndexError, ValueError):
            return _tables_and_examples(data, width)
    return "\n".join([printable(name), *(f"  {printable(key)}: {number(value)}" for key, value in data.items())])


def _tables_and_examples(data: dict[str, Any], width: int) -> str:
    parts = [f"{printable(part['title'])}\n{folded(part['columns'], part['rows'], width)}" for part in data["tables"]]
    parts += [example(shown, width=width) for shown in data.get("examples", [])]
    return "\n\n".join(parts)


def in_short(sentences: Sequence[str]) -> str:
    """Each from a line of its own, as wide as the terminal."""
    width = shutil.get_terminal_size(fallback=(100, 24)).columns
    lines = [
        textwrap.fill(printable(text), width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
        for text in sentences
    ]
    return "\n".join(["In short", *lines])


def example(shown: dict[str, Any], *, width: int) -> str:
    """One prompt with the reference and what each policy wrote."""
    lines = [_wrapped("prompt", str(shown["prompt"]), width)]
    if shown.get("reference"):
        lines.append(_wrapped("reference", str(shown["reference"]), width))
    lines += [_wrapped(policy, text, width) for policy, text in shown["responses"].items()]
    return "\n".join(lines)


def examples_of_alert(alert: Alert, *, width: int = 0) -> str:
    """Of each prompt as much as fits in a line, and the response to it."""
    width = width or shutil.get_terminal_size(fallback=(100, 24)).columns
    lines = [f"{printable(alert.code)} after step {alert.step}, for example"]
    for shown in alert.examples:
        prompt = textwrap.shorten(_one_line(shown.prompt), width - 13, placeholder=" ...")
        lines += [_wrapped("prompt", prompt, width), _wrapped("response", shown.response or "(empty)", width)]
    return "\n".join(lines)


def _wrapped(label: str, text: str, width: int) -> str:
    one_line = " ".join(printable(text, keep_newlines=True).split())
    head = f"  {printable(label):<{LABEL}} "
    if len(head) > LONGEST_HEAD:
        indent = " " * (LABEL + 3)
        return f"{head.rstrip()}\n{textwrap.fill(one_line, width, initial_indent=indent, subsequent_indent=indent)}"
    return textwrap.fill(one_line, width, initial_indent=head, subsequent_indent=" " * len(head))


def sample_text(sample: Sample) -> str:
    """Where it is from and its figures, then prompt, reference and response, a line each."""
    return "\n".join([_sample_head(sample), *_sample_prompt(sample), _sample_response(sample)])


def trail_text(samples: Sequence[Sample]) -> str:
    """Responses to one prompt, from step to step."""
    parts = ["\n".join([_sample_head(sample), _sample_response(sample)]) for sample in samples]
    return "\n\n".join(["\n".join(_sample_prompt(samples[0])), *parts])


def _sample_head(sample: Sample) -> str:
    figures = "  ".join(f"{printable(name)} {number(value)}" for name, value in sample.metrics.items())
    end = "" if sample.ended else "  (no EOS)"
    return f"step {sample.step}  {printable(sample.tag)} #{sample.index}  {figures}{end}"


def _sample_prompt(sample: Sample) -> list[str]:
    reference = [] if sample.reference is None else [f"  reference  {_one_line(sample.reference)}"]
    return [f"  prompt     {_one_line(sample.prompt)}", *reference]


def _sample_response(sample: Sample) -> str:
    return f"  response   {_one_line(sample.response)}"


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))
