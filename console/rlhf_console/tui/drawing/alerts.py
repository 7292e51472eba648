"""Alerts as rows: when, how serious, where; and one of them whole, with its figures, the advice and examples."""

from __future__ import annotations

import time

from rlhf_console.scale import figure
from rlhf_console.tui.drawing.cells import Row, fit, join, text_cells, wrap
from rlhf_console.tui.drawing.states import SEVERITY_LOOKS
from rlhf_sdk.events import Alert

LABEL, CODE = 9, 22
PROMPT, RESPONSE = "prompt    ", "response  "


def alert_row(alert: Alert, step: int, width: int) -> Row:
    """One row, the beginning of the message at its end; `step` is when it was."""
    label, style = SEVERITY_LOOKS[alert.severity]
    when = time.strftime("%H:%M:%S", time.localtime(alert.time))
    columns = fit(text_cells(label, style), LABEL), fit(text_cells(alert.code, "bold"), CODE)
    where = text_cells(f"step {step}", "dim")
    return fit(join([text_cells(when, "dim"), *columns, where, text_cells(alert.message)]), width)


def alert_page(alert: Alert, width: int, hint: str = "") -> list[Row]:
    """The message, the advice, the figures, examples, and as a `hint` the way to what else happened then."""
    label, style = SEVERITY_LOOKS[alert.severity]
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(alert.time))
    where = f"in {alert.phase}" if alert.phase else ""
    head = join([text_cells(label, style), text_cells(alert.code, "bold"), text_cells(where), text_cells(when, "dim")])
    said = [text_cells(line) for line in wrap(alert.message, width)]
    advice = [text_cells(line, "accent") for line in wrap(f"→ {alert.advice}", width)] if alert.advice else []
    figures = [text_cells(f"{name} {figure(value)}") for name, value in alert.figures.items()]
    measured = [fit(join(figures), width)] if figures else []
    on_its_way = text_cells(hint, "dim")
    return [head, *said, *advice, *measured, *_examples(alert, width), on_its_way]


def _examples(alert: Alert, width: int) -> list[Row]:
    """The responses in full, each below as much of its prompt as fits in a line."""
    rows: list[Row] = []
    for shown in alert.examples:
        prompt, response = (" ".join(text.split()) for text in (shown.prompt, shown.response))
        rows.append(fit(text_cells(PROMPT + prompt, "dim"), width))
        lines = wrap(response or "(empty)", width - len(RESPONSE))
        heads = [RESPONSE, *[" " * len(RESPONSE)] * len(lines)]
        rows += [text_cells(head, "dim") + text_cells(line) for head, line in zip(heads, lines, strict=False)]
    return rows


def alert_text(alert: Alert) -> str:
    return f"{alert.severity} {alert.code}: {alert.message}" + (f"\n{alert.advice}" if alert.advice else "")
