"""Responses to one prompt side by side, two or three of them, with their figures and what differs."""

from __future__ import annotations

from collections.abc import Sequence

from rlhf_console.runs.pairs import Means
from rlhf_console.scale import figure
from rlhf_console.tui.drawing.cells import Row, fit, flow, join, spread, text_cells, wrap
from rlhf_console.tui.drawing.samples import short_name
from rlhf_console.tui.drawing.word_diff import Word, added_words, marked_words, plain_words, wrapped
from rlhf_sdk.events import Sample

GUTTER = " │ "
GAIN = 9
BLIND_HEADS = ("left", "right")


def pair_row(prompt: str, gain: float | None, width: int, *, voted: bool) -> Row:
    """One prompt in a list: the gain, whether somebody has voted, and its title or end."""
    style = "" if not gain else "good" if gain > 0 else "alarm"
    told = text_cells(f"{'' if gain is None else f'{gain:+.3g}':>{GAIN - 2}} ", style)
    return fit(told + text_cells("✓ " if voted else "  ", "accent") + text_cells(_about(prompt)), width)


def _about(prompt: str) -> str:
    """The title of a post where there is one, else the last words."""
    title = next((line for line in prompt.split("\n") if line.startswith("TITLE: ")), "")
    return title.removeprefix("TITLE: ") or " ".join(prompt.split()[-20:])


def pair_rows(
    samples: Sequence[Sample], labels: Sequence[str], width: int, *, diff: bool, blind: bool, prompt_rows: int = 6
) -> list[Row]:
    """The end of the prompt, the responses beside each other, the reference. When blind: no labels and no figures."""
    room = _room(width, len(samples))
    words = _words([sample.response for sample in samples], diff=diff and not blind)
    columns = [wrapped(part, room) for part in words]
    rows = [fit(text_cells(line, "dim"), width) for line in wrap(samples[0].prompt, width)[-prompt_rows:]]
    heads = BLIND_HEADS if blind else labels
    rows += [[], _beside([text_cells(_shortened(head, room), "title") for head in heads], room)]
    if not blind:
        figures = [_figures(sample, room) for sample in samples]
        rows += [_beside([_at(part, place) for part in figures], room) for place in range(max(map(len, figures)))]
    rows += [_beside([_at(part, place) for part in columns], room) for place in range(max(map(len, columns)))]
    if samples[0].reference and not blind:
        reference = wrap(samples[0].reference, width)
        rows += [[], text_cells("reference", "title"), *(text_cells(line) for line in reference)]
    return rows


def beside(texts: Sequence[str], width: int, *, diff: bool) -> list[Row]:
    """Texts beside each other; with `diff` differing words are marked, else their line ends are kept."""
    room = _room(width, len(texts))
    if diff:
        columns = [wrapped(part, room) for part in _words(texts, diff=True)]
    else:
        columns = [[text_cells(line) for line in wrap(text, room)] for text in texts]
    return [_beside([_at(part, place) for part in columns], room) for place in range(max(map(len, columns)))]


def _room(width: int, count: int) -> int:
    return max((width - len(GUTTER) * (count - 1)) // count, 1)


def _words(texts: Sequence[str], *, diff: bool) -> list[list[Word]]:
    """Of two, what only one of them has is marked in both; of three, what the first has not."""
    if not diff:
        return [plain_words(text) for text in texts]
    if len(texts) == 2:
        return list(marked_words(texts[0], texts[1]))
    return [plain_words(texts[0]), *(added_words(texts[0], text) for text in texts[1:])]


def _shortened(label: str, room: int) -> str:
    """The end of a label tells more than its beginning."""
    return label if len(label) <= room else f"…{label[len(label) - room + 1 :]}"


def _at(rows: list[Row], index: int) -> Row:
    return rows[index] if index < len(rows) else []


def _beside(parts: Sequence[Row], room: int) -> Row:
    row: Row = []
    for place, part in enumerate(parts):
        row += (text_cells(GUTTER, "dim") if place else []) + fit(part, room)
    return row


def _figures(sample: Sample, room: int) -> list[Row]:
    """As many to a row as there is room for."""
    ended = text_cells("EOS", "good") if sample.ended else text_cells("no EOS", "warn")
    figures = [
        join([text_cells(short_name(name), "dim"), text_cells(figure(value))], gap=1)
        for name, value in sample.metrics.items()
    ]
    return flow([ended, *figures], room)


def sides_row(labels: Sequence[str], order: str, place: str, width: int) -> Row:
    """Which are compared, and in what order."""
    styles = ("removed", "added") if len(labels) == 2 else ("",) * len(labels)
    parts = [text_cells(label, style) for label, style in zip(labels, styles, strict=True)]
    left = parts[0]
    for part in parts[1:]:
        left = join([left, text_cells("against", "dim"), part], gap=1)
    return spread(left, text_cells(f"{order}  {place}", "dim"), width)


def means_row(means: Sequence[Means], gained: tuple[int, int], width: int) -> Row:
    """Means of each side over the prompts compared, from left to right, and how many prompts gained and lost."""
    names = [name for name in means[0].figures if all(name in side.figures for side in means)]
    parts = [_side_by_side(short_name(name), [figure(side.figures[name]) for side in means]) for name in names]
    parts.append(_side_by_side("EOS", [f"{side.ended:.0%}" for side in means]))
    told = text_cells(f"▲{gained[0]} ▼{gained[1]}", "accent") if any(gained) else []
    return fit(join([text_cells("means", "dim"), told, *parts]), width)


def _side_by_side(name: str, values: Sequence[str]) -> Row:
    return join([text_cells(name, "dim"), text_cells(" → ".join(values))], gap=1)
