"""How a state looks: a glyph and a word, so that colour is never needed to tell."""

from __future__ import annotations

from rich.style import Style

from rlhf_sdk.states import State

_GLYPHS = {
    State.CREATED: ("○", ""),
    State.STARTING: ("◌", "cyan"),
    State.RUNNING: ("▶", "green"),
    State.PAUSED: ("‖", "yellow"),
    State.FINISHED: ("✓", "green"),
    State.FAILED: ("✗", "red"),
    State.STOPPED: ("■", "yellow"),
    State.KILLED: ("✗", "red"),
    State.OOM: ("✗", "red"),
    State.RELEASED: ("■", "yellow"),
    State.REQUEUED: ("↻", "yellow"),
    State.STALLED: ("?", "red"),
    State.LOST: ("?", "red"),
}


def state_label(state: State) -> tuple[str, Style]:
    """Glyph and word, and the colour that goes with them."""
    glyph, color = _GLYPHS[state]
    return f"{glyph} {state}", Style(color=color) if color else Style()
