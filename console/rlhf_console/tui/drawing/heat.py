"""A figure of each token of a response: shades behind the text, and below it signs with ninths of the largest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from rlhf_console.printable import printable
from rlhf_console.scale import figure
from rlhf_console.tui.drawing.cells import Row, fit, flow, join, text_cells
from rlhf_sdk.events import Sample

LEVELS, SHADES = 9, 3
END = "⟨EOS⟩"
NAMES = {
    "kl_nats": "KL to the reference, nats",
    "score_gain": "what each token added to the score",
    "reward": "reward: KL penalty, score at the end",
    "advantage": "advantage",
    "value": "value before the token",
}


@dataclass(frozen=True)
class Token:
    text: str
    value: float


@dataclass(frozen=True)
class Heat:
    """`name` is one of `Sample.token_values`; `cursor` the token whose figures are written out."""

    name: str
    cursor: int = 0


def heats_of(sample: Sample) -> list[str]:
    """What there is to see of the sample's tokens, the known names first."""
    return sorted(sample.token_values, key=lambda name: list(NAMES).index(name) if name in NAMES else len(NAMES))


def tokens_of(sample: Sample, name: str) -> list[Token]:
    """The tokens with one figure each; none where the record has none, or doesn't fit the text (scrubbed, say)."""
    ends, values = sample.token_ends, sample.token_values.get(name, [])
    fits = len(ends) == len(values) and ends == sorted(ends) and ends[-1:] == [len(sample.response)]
    if not fits:
        return []
    texts = [sample.response[start:end] for start, end in pairwise([0, *ends])]
    if sample.ended and not texts[-1]:
        texts[-1] = END
    return [Token(text, value) for text, value in zip(texts, values, strict=True)]


def heat_rows(sample: Sample, heat: Heat, width: int) -> list[Row]:
    """Scale, the chosen token's figures, and the text with signs below it."""
    tokens = tokens_of(sample, heat.name)
    if not tokens:
        return [text_cells("no figures of this response's tokens", "dim")]
    cursor = min(max(heat.cursor, 0), len(tokens) - 1)
    greatest = max((abs(token.value) for token in tokens if math.isfinite(token.value)), default=0.0)
    about = flow(_about(sample, tokens, cursor), width)
    return [_scale(heat.name, greatest), *about, *_text(tokens, cursor, greatest, width)]


def level_of(value: float, greatest: float) -> int:
    """Ninths of `greatest`, -9 to 9."""
    return round(LEVELS * value / greatest) if greatest else 0


def _scale(name: str, greatest: float) -> Row:
    low, high = (text_cells(sign + figure(greatest), style) for sign, style in (("-", "cold-3"), ("+", "hot-3")))
    steps = [
        cell
        for level in range(-LEVELS, LEVELS + 1, SHADES)
        for cell in text_cells(f"{level:+d}" if level else "·", _style(level)) + text_cells(" ")
    ]
    return join([text_cells(printable(NAMES.get(name, name)), "title"), low + text_cells(" ") + steps + high])


def _about(sample: Sample, tokens: list[Token], cursor: int) -> list[Row]:
    """The token under the cursor with all its figures."""
    figures = [
        join([text_cells(name, "dim"), text_cells(_signed(values[cursor]), "bold")], gap=1)
        for name in heats_of(sample)
        if len(values := sample.token_values[name]) == len(tokens)
    ]
    token = text_cells(f'token {cursor + 1} of {len(tokens)} "{tokens[cursor].text}"', "accent")
    return [token, *figures]


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + figure(value)


def _text(tokens: list[Token], cursor: int, greatest: float, width: int) -> list[Row]:
    """Rows of text, each with a row of signs below it."""
    rows: list[Row] = [[], []]
    for place, token in enumerate(tokens):
        text, signs = _cells(token, greatest, chosen=place == cursor)
        while text:
            room = width - len(rows[-2])
            if len(text) > room and rows[-2] and len(text) <= width:
                rows += [[], []]
                continue
            rows[-2] += text[:room]
            rows[-1] += signs[:room]
            text, signs = text[room:], signs[room:]
            if text:
                rows += [[], []]
    return rows


def _cells(token: Token, greatest: float, *, chosen: bool) -> tuple[Row, Row]:
    """The token's text in its shade, and its sign: blank where the figure is next to nothing."""
    if not math.isfinite(token.value):
        style, sign = "alarm", "×"
    else:
        level = level_of(token.value, greatest)
        style, sign = _style(level), f"{level:+d}" if level else "·"
    text = text_cells(token.text, "chosen" if chosen else style)
    return text, fit(text_cells(sign[: len(text)].rjust(min(len(text), len(sign))), style), len(text))


def _style(level: int) -> str:
    """Three shades each way."""
    if level == 0:
        return ""
    return f"{'hot' if level > 0 else 'cold'}-{math.ceil(abs(level) / SHADES)}"
