"""Every place of the console where keys work, and the classes that bind them there."""

from __future__ import annotations

from typing import Any

from textual.app import App

from rlhf_console.tui.keymap import Places
from rlhf_console.tui.screens.charts import ChartsView
from rlhf_console.tui.screens.compare import CompareScreen
from rlhf_console.tui.screens.confirm import Confirm
from rlhf_console.tui.screens.jump import JumpScreen
from rlhf_console.tui.screens.keys import KeysScreen
from rlhf_console.tui.screens.label import LabelScreen
from rlhf_console.tui.screens.launch import LaunchScreen
from rlhf_console.tui.screens.run import VIEWS, RunScreen
from rlhf_console.tui.screens.runs import RunsScreen
from rlhf_console.tui.screens.samples import SamplesView
from rlhf_console.tui.screens.set_value import SetValueScreen
from rlhf_console.tui.screens.view import View
from rlhf_console.tui.widgets.pick_list import PickList
from rlhf_console.tui.widgets.row_view import Page

PARTS: dict[type[View], tuple[type[Any], ...]] = {ChartsView: (), SamplesView: (PickList,)}
"""What the keys of a view go to first; in the others it is a page."""


def places(app: type[App[None]]) -> Places:
    """By name; a question hides what is below it."""
    found: dict[str, tuple[type[Any], ...]] = {
        "the list of runs": (PickList, RunsScreen, app),
        "the comparison": (PickList, CompareScreen, app),
        "labelling": (LabelScreen, app),
        "launching": (PickList, LaunchScreen, app),
        "the list of values": (PickList, SetValueScreen),
        "a question": (Confirm,),
        "jumping": (JumpScreen,),
        "the list of keys": (Page, KeysScreen),
    }
    for view in VIEWS.values():
        found[f"{view.TITLE.lower()} of a run"] = (*PARTS.get(view, (Page,)), view, RunScreen, app)
    return found
