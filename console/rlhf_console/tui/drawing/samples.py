"""Samples as text: one row each for a list, and one of them in full."""

from __future__ import annotations

from rlhf_console.scale import figure
from rlhf_console.tui.drawing.cells import Row, fit, join, text_cells, wrap
from rlhf_sdk.events import Sample

LABEL = 11
COLUMN = 8
LISTED = (("score", "score"), ("kl/sequence_nats", "KL nats"), ("response_tokens", "tokens"))
LEAST_PROMPT = 2


def sample_heading(width: int) -> Row:
    names = "".join(f"{name:>{COLUMN}}" for _, name in LISTED)
    return fit(text_cells(f"{'step':>6} {'#':>4}{names}  EOS  response", "dim"), width)


def sample_row(sample: Sample, width: int) -> Row:
    """Step, prompt, figures, whether it ended, and how the response begins."""
    figures = "".join(f"{_figure(sample, key):>{COLUMN}}" for key, _ in LISTED)
    ended = text_cells("  ✓    " if sample.ended else "  none ", "" if sample.ended else "warn")
    before = text_cells(f"{sample.step:>6} {sample.index:>4}{figures}")
    return fit(before + ended + text_cells(_flat(sample.response)), width)


def _figure(sample: Sample, key: str) -> str:
    value = sample.metrics.get(key)
    return "" if value is None else figure(value)


def _flat(text: str) -> str:
    return " ".join(text.split())


def sample_page(sample: Sample, width: int, height: int) -> list[Row]:
    """Figures, as much of the end of the prompt as there is room for, the response and the reference."""
    answer = _labelled("response", sample.response, width, style="bold")
    if sample.reference is not None:
        answer += _labelled("reference", sample.reference, width)
    room = max(height - len(answer) - 1, LEAST_PROMPT)
    return [_about(sample, width), *_labelled("prompt", sample.prompt, width, last=room, style="dim"), *answer]


def _about(sample: Sample, width: int) -> Row:
    figures = [
        join([text_cells(name, "dim"), text_cells(figure(value), "bold")], gap=1)
        for name, value in sample.metrics.items()
    ]
    ended = text_cells("EOS", "good") if sample.ended else text_cells("no EOS: cut off", "warn")
    where = text_cells(f"step {sample.step} · {sample.tag} #{sample.index}", "accent")
    return fit(join([where, ended, *figures]), width)


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
