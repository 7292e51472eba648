"""How states and alerts look: a glyph and a word, so that colour is never needed to tell."""

from __future__ import annotations

from rlhf_console.tui.drawing.cells import Row, text_cells
from rlhf_sdk.events import Alert, Severity
from rlhf_sdk.states import State

STATE_LOOKS: dict[State, tuple[str, str]] = {
    State.CREATED: ("○", "dim"),
    State.QUEUED: ("◷", "accent"),
    State.STARTING: ("◌", "accent"),
    State.RUNNING: ("▶", "good"),
    State.PAUSED: ("‖", "warn"),
    State.FINISHED: ("✓", "good"),
    State.FAILED: ("✗", "alarm"),
    State.STOPPED: ("■", "warn"),
    State.KILLED: ("✗", "alarm"),
    State.OOM: ("✗", "alarm"),
    State.RELEASED: ("■", "warn"),
    State.REQUEUED: ("↻", "warn"),
    State.STALLED: ("?", "alarm"),
    State.LOST: ("?", "alarm"),
}
SEVERITY_LOOKS: dict[Severity, tuple[str, str]] = {
    "info": ("i info", "dim"),
    "warning": ("! warning", "warn"),
    "error": ("✗ error", "alarm"),
}


def state_cells(state: State | None) -> Row:
    """Glyph and word; a dot while the state is not known yet."""
    if state is None:
        return text_cells("·", "dim")
    glyph, style = STATE_LOOKS[state]
    return text_cells(f"{glyph} {state}", style)


def alert_cells(alert: Alert) -> Row:
    label, style = SEVERITY_LOOKS[alert.severity]
    advice = f" → {alert.advice}" if alert.advice else ""
    return text_cells(f"{label}: ", style) + text_cells(alert.message) + text_cells(advice, "dim")
