"""One run that somebody looks at, read in pieces; of a pipeline, its stages and the one in focus."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass

import msgspec

from rlhf_console.runs.log_file import LogFile
from rlhf_console.runs.ranks import RankWatch
from rlhf_console.runs.samples_file import SamplesFile
from rlhf_console.runs.series import Series
from rlhf_console.runs.store import LiveRun
from rlhf_sdk.machine_samples import MachineSample
from rlhf_sdk.run_root import find_run
from rlhf_sdk.states import State, known_state
from rlhf_sdk.tail import Tail
from rlhf_sdk.trainer import UserError

PIECE = 256 << 10
KEPT_MOMENTS = 600


class OpenRun:
    """Everything that is shown of one run.

    `samples` are found by their places in the file; `moments` are the newest samples of the machine, one a second;
    `memory` has the largest RSS in bytes during each step; `log_file` is what the worker printed; `ranks` has
    what each of several processes reports.
    """

    def __init__(self, live: LiveRun) -> None:
        self.live = live
        self.samples = SamplesFile(live.directory.samples_file)
        self.moments: deque[MachineSample] = deque(maxlen=KEPT_MOMENTS)
        self.memory = Series()
        self.ranks = RankWatch(live.directory.path)
        self.log_file = LogFile(live.directory.log)
        self._follows_log = False
        self._machine = Tail(live.directory.machine_file, _decode_machine)

    def read(self) -> bool:
        """Reads a piece of what is new, at most about 256 KiB of each file; True if there may be more."""
        self.ranks.refresh()
        if self.live.refresh(PIECE):
            return True
        samples, machine = self.samples.read(), self._machine.read(PIECE)
        for moment in machine:
            self._take_machine(moment)
        return bool(samples or machine) or (self._follows_log and self.log_file.read())

    def _take_machine(self, moment: MachineSample) -> None:
        """Nothing of one from after the worker's end."""
        if not moment.rss:
            return
        self.moments.append(moment)
        logged = next(iter(self.live.summary.metrics.values()), Series())
        finished = bisect_right(logged.times, moment.time)
        step = logged.steps[finished - 1] if finished else 0
        self.memory.add_highest(step, float(moment.rss), moment.time)

    @property
    def machine(self) -> MachineSample | None:
        """The newest sample of the machine."""
        return self.moments[-1] if self.moments else None

    def follow_log(self) -> None:
        """From now on `read` reads the log too, which may be very long."""
        if not self._follows_log:
            self._follows_log = True
            self.log_file.read()

    def reason(self) -> str:
        """Why the run ended, as far as anybody said."""
        verdict = self.live.directory.exit()
        return (verdict.reason if verdict else "") or self.live.summary.reason


def _decode_machine(line: bytes) -> MachineSample:
    return msgspec.json.decode(line, type=MachineSample)


@dataclass(frozen=True)
class Stage:
    """A stage of a pipeline; `run_id` is empty until its run exists."""

    name: str
    run_id: str
    state: State


class Focus:
    """The run that was opened. Of a pipeline, `shown` is the stage at work, or the one that was chosen."""

    def __init__(self, opened: LiveRun) -> None:
        self.opened = OpenRun(opened)
        self.shown = self.opened
        self._chosen = ""

    @property
    def stages(self) -> list[Stage]:
        """The pipeline's stages in order; empty for any other run."""
        live = self.opened.live
        if live.record.plugin != "pipeline":
            return []
        return [self._stage(name) for name in live.record.config.get("stages", {})]

    def _stage(self, name: str) -> Stage:
        known = self.opened.live.summary.children.get(name)
        if known is None:
            return Stage(name, "", State.CREATED)
        return Stage(name, known.run_id, known_state(known.state) or State.CREATED)

    @property
    def stage(self) -> str:
        """The stage that is shown; empty for any run but a pipeline."""
        return self._chosen or next(reversed(self._started()), "")

    def _started(self) -> list[str]:
        return [stage.name for stage in self.stages if stage.run_id]

    def choose_stage(self, name: str) -> None:
        """Shows this stage, if it has a run; at the newest one, follows what comes."""
        started = self._started()
        if name in started:
            self._chosen = "" if name == started[-1] else name

    def choose(self, by: int) -> None:
        """Moves on by so many stages."""
        started = self._started()
        if started:
            self.choose_stage(started[min(max(started.index(self.stage) + by, 0), len(started) - 1)])

    @property
    def lead(self) -> OpenRun:
        """The run by which charts are chosen and kept."""
        return self.shown

    @property
    def drawn_plugin(self) -> str:
        """The plugin whose charts are drawn."""
        return self.shown.live.record.plugin

    def read(self) -> bool:
        """Reads a piece of what is new in the opened run, and in the stage that is shown."""
        more = self.opened.read()
        self._follow()
        return (self.shown is not self.opened and self.shown.read()) or more

    def _follow(self) -> None:
        wanted = next((stage.run_id for stage in self.stages if stage.name == self.stage), "")
        if not wanted or wanted == self.shown.live.record.id:
            return
        try:
            self.shown = OpenRun(LiveRun.open(find_run(self.opened.live.directory.root, wanted)))
        except UserError:
            return
