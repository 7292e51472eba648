"""Runs put away, fetched back and deleted from a list, each after a question."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType

from rlhf_console.printable import printable
from rlhf_console.runs.removing import archive, delete, restore
from rlhf_console.tui.screens.confirm import Confirm
from rlhf_console.tui.screens.repeating import RepeatingScreen
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.trainer import UserError

NAMED_USERS = 3


class KeepingScreen(RepeatingScreen):
    """A subclass says whether it shows the archive, and which runs use a checkpoint of another."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "archive", "Archive, or restore", show=False, id="archive"),
        Binding("delete,D", "delete", "Delete", show=False, id="delete"),
    ]

    @property
    def shows_archive(self) -> bool:
        raise NotImplementedError

    def users_of(self, run: RunDir) -> list[str]:
        raise NotImplementedError

    def removed(self, run: RunDir) -> None:
        """It is not in the list any more."""
        raise NotImplementedError

    def action_archive(self) -> None:
        if self.shows_archive:
            self._with_ended("Restore", "It moves back to the run folder, with its stages.", restore)
        else:
            self._with_ended("Archive", "It moves to .archive below the run folder, with its stages.", archive)

    def action_delete(self) -> None:
        self._with_ended("Delete", "Its checkpoints, samples and figures are gone for good.", delete)

    def _with_ended(self, what: str, explanation: str, do: Callable[[RunDir], None]) -> None:
        run = self.run_in_focus()
        if run is None:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._do(do, run)

        warning = self._warning(run) if do is not restore else ""
        self.app.push_screen(Confirm(f"{what} {run.id}?", f"{explanation}{warning}"), answered)

    def _warning(self, run: RunDir) -> str:
        users = self.users_of(run)
        if not users:
            return ""
        more = f" and {len(users) - NAMED_USERS} more" if len(users) > NAMED_USERS else ""
        return f" A checkpoint of it is used by {', '.join(users[:NAMED_USERS])}{more}, not resumable then."

    def _do(self, do: Callable[[RunDir], None], run: RunDir) -> None:
        try:
            do(run)
        except UserError as error:
            self.complain(error)
        self.removed(run)

    def complain(self, error: UserError) -> None:
        self.notify(printable(str(error)), severity="error", markup=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if self.readonly and action in ("archive", "delete"):
            return False
        return super().check_action(action, parameters)
