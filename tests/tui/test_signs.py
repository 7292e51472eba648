"""States, lights, alerts and lines are told by sign or word, whoever sees no colour."""

from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from rlhf_console.runs.marks import MOST
from rlhf_console.runs.sent_commands import SentCommand
from rlhf_console.tui.drawing.cells import Row
from rlhf_console.tui.drawing.checks import LOOKS as CHECK_LOOKS
from rlhf_console.tui.drawing.lines import MARKERS, OVERLAY_LOOK, marker, series_style
from rlhf_console.tui.drawing.sent import sent_row
from rlhf_console.tui.drawing.states import SEVERITY_LOOKS, state_cells
from rlhf_console.tui.widgets.cells import STYLES
from rlhf_sdk.events import CheckStatus, Severity
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import State


def text(row: Row) -> str:
    return "".join(cell for cell, _ in row)


def all_different(texts: Iterable[str]) -> bool:
    known = list(texts)
    return len(set(known)) == len(known)


def test_every_state_has_a_sign_and_its_word() -> None:
    shown = {state: text(state_cells(state)) for state in State}
    assert all_different(shown.values())
    assert all(shown[state].split() == [shown[state][0], str(state)] for state in State)


def test_a_state_that_ended_well_or_badly_is_told_by_the_sign_alone() -> None:
    sign = {state: text(state_cells(state))[0] for state in State}
    bad = {sign[state] for state in (State.FAILED, State.KILLED, State.OOM)}
    assert bad.isdisjoint(sign[state] for state in State if state not in (State.FAILED, State.KILLED, State.OOM))


def test_every_light_and_every_alert_has_a_sign_and_a_word() -> None:
    for looks, kinds in ((CHECK_LOOKS, get_args(CheckStatus)), (SEVERITY_LOOKS, get_args(Severity))):
        labels = {kind: label for kind, (label, _) in looks.items()}
        assert set(labels) == set(kinds)
        assert all(kind in label and len(label.split()) == 2 for kind, label in labels.items())
        assert all_different(label[0] for label in labels.values())


def test_every_line_of_a_chart_and_every_marked_run_has_its_own_sign() -> None:
    assert all_different(MARKERS) and len(MARKERS) == sum(name.startswith("series-") for name in STYLES)
    overlays = [(marker(OVERLAY_LOOK + place), series_style(OVERLAY_LOOK + place)) for place in range(MOST)]
    assert all_different(sign for sign, _ in overlays) and all_different(style for _, style in overlays)


def test_how_far_a_wish_has_got_is_said() -> None:
    rows = [
        text(sent_row([SentCommand(RunDir(Path("run")), "pause", outcome=outcome)], 60)).split(":")[1]
        for outcome in ("requested", "accepted", "done", "refused", "ignored")
    ]
    assert all_different(rows)
