"""Two responses to one prompt side by side, with their figures and what differs."""

from __future__ import annotations

from rlhf_console.runs.pairs import Pair
from rlhf_console.scale import figure
from rlhf_console.tui.drawing.cells import Row, fit, join, spread, text_cells, wrap
from rlhf_console.tui.drawing.word_diff import marked_words, plain_words, wrapped
from rlhf_sdk.events import Sample

GUTTER = " │ "
PROMPT_ROWS = 6
GAIN = 9


def pair_row(pair: Pair, width: int) -> Row:
    """One pair in a list: the gain, and how the prompt ends."""
    gain = "" if pair.gain is None else f"{pair.gain:+.3g}"
    style = "" if not pair.gain else "good" if pair.gain > 0 else "alarm"
    return fit(text_cells(f"{gain:>{GAIN - 2}}  ", style) + text_cells(_about(pair.prompt)), width)


def _about(prompt: str) -> str:
    """The title of a post where there is one, else the last words."""
    title = next((line for line in prompt.split("\n") if line.startswith("TITLE: ")), "")
    return title.removeprefix("TITLE: ") or " ".join(prompt.split()[-20:])


def pair_rows(pair: Pair, labels: tuple[str, str], width: int, *, diff: bool, blind: bool) -> list[Row]:
    """Prompt, both responses beside each other, the reference. When blind: no labels and no figures."""
    half = max((width - len(GUTTER)) // 2, 1)
    texts = pair.left.response, pair.right.response
    words = marked_words(*texts) if diff and not blind else (plain_words(texts[0]), plain_words(texts[1]))
    left, right = (wrapped(part, half) for part in words)
    heads = ("left", "right") if blind else labels
    rows = [_prompt_row(line, width) for line in wrap(pair.prompt, width)[-PROMPT_ROWS:]]
    rows += [[], _beside(text_cells(heads[0], "title"), text_cells(heads[1], "title"), half)]
    if not blind:
        rows.append(_beside(_figures(pair.left), _figures(pair.right), half))
    for index in range(max(len(left), len(right))):
        rows.append(_beside(_at(left, index), _at(right, index), half))
    if pair.left.reference and not blind:
        rows += [[], text_cells("reference", "title"), *(text_cells(line) for line in wrap(pair.left.reference, width))]
    return rows


def _prompt_row(line: str, width: int) -> Row:
    return fit(text_cells(line, "dim"), width)


def _at(rows: list[Row], index: int) -> Row:
    return rows[index] if index < len(rows) else []


def _beside(left: Row, right: Row, half: int) -> Row:
    return fit(left, half) + text_cells(GUTTER, "dim") + fit(right, half)


def _figures(sample: Sample) -> Row:
    ended = text_cells("EOS", "good") if sample.ended else text_cells("no EOS", "warn")
    figures = [
        join([text_cells(name.rpartition("/")[2], "dim"), text_cells(figure(value))], gap=1)
        for name, value in sample.metrics.items()
    ]
    return join([ended, *figures])


def sides_row(labels: tuple[str, str], order: str, place: str, width: int) -> Row:
    """Which two are compared, and in what order."""
    left = join([text_cells(labels[0], "removed"), text_cells("against"), text_cells(labels[1], "added")], gap=1)
    return spread(left, text_cells(f"{order}  {place}", "dim"), width)
