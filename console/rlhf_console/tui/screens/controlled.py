"""What every screen with a run in focus can ask of it: pause, resume, checkpoint, samples, another value, stop."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.screen import Screen

from rlhf_console.runs.sent_commands import SENDER, SentCommands
from rlhf_console.tui.drawing.sent import sent_row
from rlhf_console.tui.link import LinkedApp
from rlhf_console.tui.screens.confirm import Confirm
from rlhf_console.tui.screens.keys import hint
from rlhf_console.tui.screens.set_value import Change, SetValueScreen
from rlhf_console.tui.widgets.cells import Cells
from rlhf_sdk.commands import AnyCommand, Checkpoint, Pause, SampleNow, SetValue, Stop
from rlhf_sdk.run_dir import RunDir

CONTROLS = ("pause", "checkpoint", "sample", "set", "release", "stop")


class SentLine(Cells):
    """Commands on their way; no row at all while there are none."""

    DEFAULT_CSS = "SentLine { height: 1; }"

    def follow(self, sent: SentCommands, width: int) -> None:
        sent.follow()
        self.display = bool(sent.newest_first)
        if self.display:
            self.show([sent_row(sent.newest_first, width)])


class ControlledScreen(Screen[None]):
    """A subclass says which run is in focus. With `readonly` nothing can be asked."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause", "Pause/Resume", id="pause"),
        Binding("c", "checkpoint", "Checkpoint", show=False, id="checkpoint"),
        Binding("n", "sample", "Sample now", show=False, id="sample-now"),
        Binding("e", "set", "Set a value", show=False, id="set-value"),
        Binding("r", "release", "Release", show=False, id="release"),
        Binding("x", "stop", "Stop", show=False, id="stop"),
    ]

    def __init__(self, sent: SentCommands, *, readonly: bool) -> None:
        super().__init__()
        self.sent, self.readonly = sent, readonly

    def run_in_focus(self) -> RunDir | None:
        raise NotImplementedError

    def command(self) -> str:
        """What opens the run in focus from a shell."""
        run = self.run_in_focus()
        return shlex.join(["rlhf-console", run.id, "--runs", str(run.root.absolute())]) if run is not None else ""

    @property
    def in_sight(self) -> bool:
        """On top, or behind dialogs alone; `is_current` is also true right behind a screen that covers everything."""
        alive = self.is_current and self.is_attached and self.is_mounted
        return alive and (self.app.screen is self or self.app.screen.is_modal)

    @property
    def terminal_is_behind(self) -> bool:
        """What it has not shown yet is to be shown first: what comes by itself is left out until then."""
        return isinstance(self.app, LinkedApp) and self.app.terminal_is_behind

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not (self.readonly and action in CONTROLS)

    def _with_run(self, do: Callable[[RunDir], None]) -> None:
        run = self.run_in_focus()
        if run is None:
            self.notify("no run is in focus", severity="warning", markup=False)
        else:
            do(run)

    def _send(self, run: RunDir, command: AnyCommand, what: str) -> None:
        self.sent.send(run, command, what)

    def action_pause(self) -> None:
        self._with_run(self._pause_or_resume)

    def _pause_or_resume(self, run: RunDir) -> None:
        """Aside: a new attempt takes a moment to start."""
        self.run_worker(lambda: self.sent.pause_or_resume(run), thread=True)

    def action_checkpoint(self) -> None:
        self._with_run(lambda run: self._send(run, Checkpoint(sender=SENDER), "checkpoint"))

    def action_sample(self) -> None:
        self._with_run(lambda run: self._send(run, SampleNow(sender=SENDER), "sample"))

    def action_set(self) -> None:
        self._with_run(self._choose_value)

    def _choose_value(self, run: RunDir) -> None:
        self.app.push_screen(SetValueScreen(run), lambda chosen: self._set(run, chosen))

    def _set(self, run: RunDir, chosen: Change | None) -> None:
        if chosen is not None:
            what = f"set {chosen.key} = {chosen.after}"
            command = SetValue(sender=SENDER, key=chosen.key, value=chosen.after)
            self._ask(run, command, what, f"It is {chosen.before} now. {SETS}", where=" in")

    def action_release(self) -> None:
        self._with_run(
            lambda run: self._ask(run, Pause(sender=SENDER, release=True), "release", self._before(RELEASES))
        )

    def _before(self, what: str) -> str:
        """How to go on afterwards."""
        how = hint(self, "pause", "goes on from there")
        return f"{what}; {how}." if how else f"{what}."

    def action_stop(self) -> None:
        self._with_run(lambda run: self._ask(run, Stop(sender=SENDER), "stop", self._before(STOPS)))

    def _ask(self, run: RunDir, command: AnyCommand, what: str, explanation: str, where: str = "") -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self._send(run, command, what)

        self.app.push_screen(Confirm(f"{what[0].upper()}{what[1:]}{where} {run.id}?", explanation), answered)


SETS = "The other value holds from the next update on."
STOPS = "It writes a checkpoint first"
RELEASES = "It writes a checkpoint and gives the device free"
