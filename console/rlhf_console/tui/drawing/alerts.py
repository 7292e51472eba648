"""Alerts as rows, newest first, with when, where, the figures and the advice."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rlhf_console.scale import figure
from rlhf_console.tui.drawing.cells import Row, fit, join, text_cells, wrap
from rlhf_console.tui.drawing.states import SEVERITY_LOOKS
from rlhf_sdk.events import Alert

INDENT = 4


def alert_rows(alerts: Sequence[Alert], width: int) -> list[Row]:
    if not alerts:
        return [text_cells("no alerts", "dim")]
    return [row for alert in reversed(alerts) for row in _alert(alert, width)]


def _alert(alert: Alert, width: int) -> list[Row]:
    label, style = SEVERITY_LOOKS[alert.severity]
    when = time.strftime("%H:%M:%S", time.localtime(alert.time))
    where = f"in {alert.phase}" if alert.phase else ""
    figures = [text_cells(f"{name} {figure(value)}", "dim") for name, value in alert.figures.items()]
    head = join([text_cells(when, "dim"), text_cells(label, style), text_cells(alert.code, "bold"),
                 text_cells(f"step {alert.step}", "dim"), text_cells(where), *figures])  # fmt: skip
    said = [text_cells(" " * INDENT + line) for line in wrap(alert.message, width - INDENT)]
    advice = [text_cells(" " * INDENT + line, "accent") for line in wrap(f"→ {alert.advice}", width - INDENT)]
    return [fit(head, width), *said, *(advice if alert.advice else []), []]
