"""What the shim says by itself (`alerts.jsonl`), and what a person is told of a run."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import msgspec

from rlhf_sdk.events import Alert, Severity, encode_line
from rlhf_sdk.journal import LineFile
from rlhf_sdk.liveness import host_name
from rlhf_sdk.notify import ENVIRONMENT, Message, start_telling
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import ExitRecord
from rlhf_sdk.states import State

QUIET_SECONDS = 600.0
"""A person is told of the same kind of alert once in so many seconds."""

_TOLD_ENDS: dict[State, Severity] = {
    State.FINISHED: "info",
    State.FAILED: "error",
    State.OOM: "error",
    State.KILLED: "error",
}


class Alarms:
    """Writes the shim's alerts, and tells people where `$RLHF_NOTIFY` says whom.

    A stage's end is told by its pipeline.
    """

    def __init__(self, run: RunDir, attempt: int) -> None:
        self._run, self._attempt = run, attempt
        self._file: LineFile | None = None
        self._wanted = bool(os.environ.get(ENVIRONMENT))
        self._is_stage = run.record().pipeline is not None
        self._pending: list[Alert] = []
        self._told_at: dict[str, float] = {}
        self._tellers: list[subprocess.Popen[bytes]] = []

    def give(self, alert: Alert) -> None:
        """Writes an alert of the shim's own. One that finds the disk full is printed, and told all the same."""
        stamped = msgspec.structs.replace(alert, attempt=self._attempt, time=time.time())
        try:
            self._file = self._file or LineFile(self._run.alerts_file)
            self._file.append(encode_line(stamped))
        except OSError as error:
            print(f"an alert could not be written ({error}): {alert.message}", file=sys.stderr)
        self.hear(stamped)

    def hear(self, alert: Alert) -> None:
        """An alert, the worker's or the shim's, that a person may have to be told of."""
        if alert.severity == "error":
            self._pending.append(alert)

    def tell(self) -> None:
        """Tells what was heard."""
        for alert in self._pending:
            if time.monotonic() - self._told_at.get(alert.code, -QUIET_SECONDS) >= QUIET_SECONDS:
                self._told_at[alert.code] = time.monotonic()
                self._send(alert.code, alert.severity, alert.message, alert.advice)
        self._pending.clear()
        self._tellers = [teller for teller in self._tellers if teller.poll() is None]

    def end(self, verdict: ExitRecord) -> None:
        """Tells how the run ended; an alert about it would say the same, and gives its advice."""
        about_it = [alert for alert in self._pending if alert.message == verdict.reason]
        self._pending = [alert for alert in self._pending if alert not in about_it]
        self.tell()
        if verdict.state in _TOLD_ENDS and not self._is_stage:
            advice = about_it[-1].advice if about_it else ""
            self._send(verdict.state, _TOLD_ENDS[verdict.state], verdict.reason or "done", advice)

    def _send(self, what: str, severity: Severity, message: str, advice: str) -> None:
        if not self._wanted:
            return
        told = Message(
            run=self._run.id,
            what=what,
            severity=severity,
            message=message,
            advice=advice,
            host=host_name(),
            time=time.time(),
        )
        try:
            self._tellers.append(start_telling(told))
        except OSError as error:
            print(f"{what} could not be told: {error}", file=sys.stderr)
