"""The worker of a run of several processes: `python -m rlhf_sdk.ranked.worker RUN_DIR`, started by torchrun.

Rank 0 is a worker like any other; the others do what it does, and write nothing but their reports. An end that was
decided (finished, stopped, a user's mistake, divergence) exits with 0, so that torchrun doesn't begin the run anew.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from msgspec import structs

from rlhf_sdk.events import Alert
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.journal import Journal
from rlhf_sdk.pace import AttemptOptions, Pace
from rlhf_sdk.ranked.blame import blame_in_words, out_of_reach, standstill_in_words, to_blame
from rlhf_sdk.ranked.checkpoints import RankedCheckpoints
from rlhf_sdk.ranked.control import SharedControl
from rlhf_sdk.ranked.link import RankedRuntime, RankLink, rank_environment, ranked_runtime
from rlhf_sdk.ranked.mute_journal import MuteJournal
from rlhf_sdk.ranked.reports import LOST_OTHERS, RankReport, RankReporter, read_reports
from rlhf_sdk.ranked.run import RankedRun
from rlhf_sdk.ranked.starting import used_up
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.spec import PluginSpec
from rlhf_sdk.states import State
from rlhf_sdk.trainer import Trainer, UserError
from rlhf_sdk.verdict import Verdict
from rlhf_sdk.worker import NO_OPTIONS, Worker, main
from rlhf_sdk.worker_control import Control
from rlhf_sdk.worker_run import WorkerRun

REPORT_WAIT_SECONDS = 5.0
"""How long a rank that lost the others waits for what they say of themselves."""

BEGIN_ANEW = {"plugin_failed", "rank_failed", "out_of_memory", LOST_OTHERS}
"""Ends after which the run begins anew from its last good checkpoint, as often as torchrun may."""

_DECIDED = {"user_error": ExitCode.USER_ERROR, "disk": ExitCode.USER_ERROR, "diverged": ExitCode.DIVERGED}


class RankedWorker(Worker):
    """One rank's part of one attempt."""

    link: RankLink
    ranked_runtime: RankedRuntime | None = None

    def __init__(self, directory: RunDir, *, attempt: int, since: float, options: AttemptOptions = NO_OPTIONS) -> None:
        self.place = rank_environment()
        super().__init__(directory, attempt=attempt + self.place.restart, since=since, options=options)
        self.reporter = RankReporter(directory.path, self.place, self.journal.attempt)
        self.failed_code = ""

    def new_journal(self, attempt: int) -> Journal:
        return super().new_journal(attempt) if self.place.leads else MuteJournal(attempt)

    def new_control(self, since: float) -> Control:
        return SharedControl(self.directory.commands, self.journal.event, since=since, leads=self.place.leads)

    def new_run(self, **parts: Any) -> WorkerRun:
        return RankedRun(self.directory, reporter=self.reporter, leads=self.place.leads, **parts)

    def new_checkpoints(self, run: WorkerRun, trainer: Trainer) -> RankedCheckpoints:
        return RankedCheckpoints(
            self.directory.checkpoints, self.journal, run, trainer, Pace(self.options), place=self.place
        )

    def main(self) -> int:
        self.reporter.start()
        code = super().main() if self.place.leads else self._follow()
        return code if self.failed_code else ExitCode.DONE

    def _follow(self) -> int:
        """As `Worker.main`, for a rank that nobody speaks to. Signals of the whole group are rank 0's to obey."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        try:
            verdict = self.attempt()
        except BaseException as error:
            verdict = self.verdict(error)
        self.record(verdict)
        return verdict.exit_code

    def start_runtime(self, spec: PluginSpec, run: WorkerRun, trainer: Trainer) -> None:
        self.ranked_runtime = ranked_runtime(trainer.runtime)
        if "ranks" not in spec.capabilities or self.ranked_runtime is None:
            raise UserError(f"plugin {spec.name!r} works in one process: start it without --nproc and --nnodes")
        self.link = self.ranked_runtime.join_ranks(self.options.patience_seconds)
        # torchrun counts restarts on each machine for itself, from 0 on one that joins again.
        self.journal.attempt = max(self.link.meet(self.journal.attempt))
        self.place = replace(self.place, restarts_left=min(self.link.meet(self.place.restarts_left)))
        self.reporter.linked(self.link, self.journal.attempt)
        self._announce_own_loss()
        assert isinstance(self.checkpoints, RankedCheckpoints), "made above"
        self.checkpoints.link = self.link
        super().start_runtime(spec, run, trainer)

    def set_up(self, run: WorkerRun, trainer: Trainer) -> None:
        """Rank 0 first: what it writes (tokenised data, comparisons) the others find there."""
        for leads in (True, False):
            with self.link.patience():
                if self.place.leads is leads:
                    super().set_up(run, trainer)
        assert isinstance(self.control, SharedControl), "made above"
        self.control.share(self.link)

    @contextmanager
    def inside_step(self, run: WorkerRun) -> Iterator[None]:
        with super().inside_step(run):
            yield
        runtime = self.trainer.runtime if self.trainer else None
        self.reporter.stepped(dict(runtime.memory()) if runtime else {})

    def verdict(self, error: BaseException) -> Verdict:
        """Where other ranks were lost, what became of them."""
        if self.ranked_runtime is None or not self.ranked_runtime.lost_others(error):
            return super().verdict(error)
        blamed = self._to_blame()
        waited = f"; rank {self.place.rank} waited for {self.link.waiting_for}" if self.link.waiting_for else ""
        if blamed is not None:
            return verdict_on(blamed, leads=self.place.leads, waited=waited)
        reason = standstill_in_words(read_reports(self.directory.path))
        code = "rank_failed" if self.place.leads else LOST_OTHERS
        return Verdict(State.FAILED, ExitCode.PLUGIN_FAILED, reason, code, "output.log has what each rank printed")

    def _to_blame(self) -> RankReport | None:
        """A rank that failed says so before its connections close; one that was killed never does."""
        deadline = time.monotonic() + REPORT_WAIT_SECONDS
        while True:
            others = [report for report in read_reports(self.directory.path) if report.rank != self.place.rank]
            blamed = to_blame(others, time.time())
            said = blamed is not None and (blamed.ended or blamed.lives() is False)
            if said or time.monotonic() > deadline:
                return blamed or out_of_reach(others)
            time.sleep(0.1)

    def record(self, verdict: Verdict) -> None:
        begins_anew = verdict.code in BEGIN_ANEW and self.place.restarts_left > 0
        if verdict.code in BEGIN_ANEW and not begins_anew:
            verdict = structs.replace(verdict, reason=f"{verdict.reason}{used_up(self.options)}")
        self.failed_code = verdict.code if verdict.code and verdict.code not in _DECIDED else ""
        if begins_anew and self.place.leads:
            self._announce_restart(verdict, self.options.restart_limit - self.place.restarts_left + 1)
        elif self.place.leads:
            super().record(verdict)
        elif verdict.reason:
            print(f"rank {self.place.rank}: {verdict.reason}", file=sys.stderr)
        self.reporter.end(verdict.state, verdict.reason, LOST_OTHERS if verdict.code == "rank_failed" else verdict.code)

    def _announce_restart(self, verdict: Verdict, number: int) -> None:
        count = f"restart {number} of {self.options.restart_limit}"
        message = f"{verdict.reason}; all ranks begin again from the last good checkpoint ({count})"
        advice = f"{verdict.advice}{self._how_to_come_back()}"
        self.journal.event(Alert(severity="error", code="ranks_restart", message=message, advice=advice))
        self.journal.sync()

    def _announce_own_loss(self) -> None:
        """Rank 0 was lost in the attempt before and could not say so: what the others said then."""
        before = self.reporter.before
        if not self.place.leads or not self.place.restart or before is None or before.ended:
            return
        said = [report.lost_before for report in read_reports(self.directory.path) if report.lost_before]
        reason = said[0] if said else f"{before.name} was lost in {before.at or 'set-up'}"
        advice = "output.log has what that rank printed"
        lost = Verdict(State.FAILED, ExitCode.PLUGIN_FAILED, reason, "rank_failed", advice)
        self._announce_restart(lost, self.place.restart)

    def _how_to_come_back(self) -> str:
        if self.options.nodes < 2:
            return ""
        patience = f"{self.options.patience_seconds:.0f} s"
        again = f"rlhf join {self.directory.id}"
        return f"; machines whose `{again}` has ended say it again: they are waited for {patience}"


def verdict_on(blamed: RankReport, *, leads: bool, waited: str = "") -> Verdict:
    """What the end of another rank means for this one, which had `waited`."""
    reason = f"{blame_in_words(blamed, time.time())}{waited}"
    if not leads:
        code = blamed.code if blamed.code in _DECIDED else LOST_OTHERS
        return Verdict(State.FAILED, ExitCode.PLUGIN_FAILED, reason, code)
    if blamed.code == "out_of_memory":
        return Verdict(State.OOM, ExitCode.OUT_OF_MEMORY, reason, "out_of_memory", "lower the micro-batch size")
    exit_code = _DECIDED.get(blamed.code, ExitCode.PLUGIN_FAILED)
    code = blamed.code if blamed.code in _DECIDED else "rank_failed"
    return Verdict(State.FAILED, exit_code, reason, code, "output.log has what that rank printed")


if __name__ == "__main__":
    main(kind=RankedWorker)
