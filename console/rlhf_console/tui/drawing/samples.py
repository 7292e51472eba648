"""Samples as text: one row each for a list, and one of them in full."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rlhf_console.scale import figure
from rlhf_console.tui.drawing.cells import Row, fit, flow, join, spread, text_cells, wrap
from rlhf_console.tui.drawing.heat import Heat, heat_rows
from rlhf_sdk.events import Sample
from rlhf_sdk.spec import SampleColumn

LABEL = 11
COLUMN = 8
LISTED = (SampleColumn("score"), SampleColumn("kl/sequence_nats", "KL nats"), SampleColumn("response_tokens", "tokens"))
LEAST_PROMPT = 2


def sample_heading(width: int, columns: Sequence[SampleColumn] = LISTED) -> Row:
    names = "".join(f"{_title(column)[: COLUMN - 1]:>{COLUMN}}" for column in columns)
    return fit(text_cells(f"{'step':>6} {'#':>4}{names}  EOS  response", "dim"), width)


def _title(column: SampleColumn) -> str:
    return column.title or column.metric.rpartition("/")[2]


def sample_row(
    sample: Sample, width: int, columns: Sequence[SampleColumn] = LISTED, title_copy: float = math.nan
) -> Row:
    """Step, prompt, figures, whether it ended, what share of the title it repeats (NaN: not said), the response."""
    figures = "".join(f"{_figure(sample, column.metric):>{COLUMN}}" for column in columns)
    ended = text_cells("  ✓    " if sample.ended else "  none ", "" if sample.ended else "warn")
    copied = [] if math.isnan(title_copy) else text_cells(f"{title_copy:>4.0%} of title  ", "accent")
    before = text_cells(f"{sample.step:>6} {sample.index:>4}{figures}")
    return fit(before + ended + copied + text_cells(_flat(sample.response)), width)


def short_name(metric: str) -> str:
    """As in the list's heading, or the last part of the name."""
    return next((_title(column) for column in LISTED if column.metric == metric), metric.rpartition("/")[2])


def damaged_row(width: int) -> Row:
    return fit(text_cells("  a line that can't be read", "warn"), width)


def _figure(sample: Sample, key: str) -> str:
    value = sample.metrics.get(key)
    return "" if value is None else figure(value)


def _flat(text: str) -> str:
    return " ".join(text.split())


def sample_page(sample: Sample, width: int, height: int, heat: Heat | None = None) -> list[Row]:
    """Figures, as much of the end of the prompt as there is room for, the response and the reference."""
    answer = _labelled("response", sample.response, width, style="bold") if heat is None else []
    if heat is not None:
        answer = [fit(row, width) for row in heat_rows(sample, heat, width)]
    if sample.reference is not None:
        answer += _labelled("reference", sample.reference, width)
    about = _about(sample, width)
    room = max(height - len(answer) - len(about), LEAST_PROMPT)
    return [*about, *_labelled("prompt", sample.prompt, width, last=room, style="dim"), *answer]


def _about(sample: Sample, width: int) -> list[Row]:
    figures = [
        join([text_cells(name, "dim"), text_cells(figure(value), "bold")], gap=1)
        for name, value in sample.metrics.items()
    ]
    ended = text_cells("EOS", "good") if sample.ended else text_cells("no EOS: cut off", "warn")
    where = text_cells(f"step {sample.step} · {sample.tag} #{sample.index}", "accent")
    return [fit(row, width) for row in flow([where, ended, *figures], width)]


def _labelled(label: str, text: str, width: int, *, last: int | None = None, style: str = "") -> list[Row]:
    """Wrapped text beside its label; of more than `last` rows the last ones."""
    lines = wrap(text, max(width - LABEL - len("… "), 1)) or [""]
    if last is not None and len(lines) > last:
        lines = [f"… {lines[-last]}", *lines[len(lines) - last + 1 :]]
    heads = [label, *[""] * (len(lines) - 1)]
    return [
        fit(text_cells(head.ljust(LABEL), "dim") + text_cells(line, style), width)
        for head, line in zip(heads, lines, strict=True)
    ]


def sample_text(sample: Sample) -> str:
    """All of it, to be read elsewhere."""
    parts = {"prompt": sample.prompt, "response": sample.response, "reference": sample.reference}
    return "\n\n".join(f"{name}\n{text}" for name, text in parts.items() if text)


def chosen_row(chosen: str, place: str, width: int) -> Row:
    """A rule between list and page, with what the list is restricted to and where in it the cursor is."""
    left = text_cells("── ", "dim") + text_cells(chosen, "accent") + text_cells(" ", "dim")
    right = text_cells(f" {place}" if place else "", "dim")
    return spread(left + text_cells("─" * max(width - len(left) - len(right) - 2, 0), "dim"), right, width)
