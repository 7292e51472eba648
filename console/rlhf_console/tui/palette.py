"""What the palette finds besides actions: every run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol, runtime_checkable

from textual.command import DiscoveryHit, Hit, Hits, Provider

from rlhf_console.printable import printable
from rlhf_console.runs.glance import Glance
from rlhf_sdk.run_dir import RunDir

SHOWN_AT_FIRST = 5
HELP = "go to this run"


@runtime_checkable
class HasRuns(Protocol):
    """The app, as far as the palette needs it."""

    @property
    def runs(self) -> Sequence[Glance]: ...

    def open_run(self, directory: RunDir) -> None: ...


class RunsProvider(Provider):
    """Finds runs by their ids."""

    async def discover(self) -> Hits:
        for run in self._app.runs[:SHOWN_AT_FIRST]:
            yield DiscoveryHit(printable(run.record.id), partial(self._app.open_run, run.directory), help=HELP)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for run in self._app.runs:
            name = printable(run.record.id)
            if (score := matcher.match(name)) > 0:
                yield Hit(score, matcher.highlight(name), partial(self._app.open_run, run.directory), help=HELP)

    @property
    def _app(self) -> HasRuns:
        app: object = self.app
        assert isinstance(app, HasRuns)
        return app
