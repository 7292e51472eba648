"""One plugin on trial: its declaration, an undisturbed run of it, and runs that something is done to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from rlhf_sdk.contract.attempts import Ending, attempt, attempt_elsewhere
from rlhf_sdk.contract.finding import Request, Unjudged
from rlhf_sdk.contract.rehearsal import Act
from rlhf_sdk.events import MetricsLogged, Sample
from rlhf_sdk.outcomes import Outcome, outcome
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import RunRecord, encode_record

SHORT_STEPS = 6
STEPS = "steps"


class Trial:
    """Runs of one plugin below `folder`."""

    def __init__(self, request: Request, folder: Path) -> None:
        self.plugin, self.request, self.folder = request.plugin, request, folder
        self._runs = 0

    @cached_property
    def declared(self) -> dict[str, Any]:
        """What a process that asked the plugin found: `answer` or `error`, CPU `seconds`, `heavy` modules, ..."""
        command = [sys.executable, "-P", "-m", "rlhf_sdk.contract.declaring", self.plugin]
        try:
            done = subprocess.run(
                command,
                input=json.dumps(self.request.config),
                capture_output=True,
                text=True,
                timeout=self.request.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"no answer within {self.request.seconds:g} s"}
        try:
            found: dict[str, Any] = json.loads(done.stdout)
        except json.JSONDecodeError:
            last_words = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
            return {"error": f"ended with {done.returncode}: {last_words}"}
        return found

    def need_answer(self) -> None:
        """Raises `Unjudged` if the plugin can't be described."""
        if "error" in self.declared:
            raise Unjudged("it can't be described")

    def need_config(self) -> None:
        """Raises `Unjudged` if there is no config to run it with."""
        self.need_answer()
        if "config" not in self.declared:
            raise Unjudged(self.declared["config_error"])

    def need_finished(self) -> None:
        """Raises `Unjudged` if the undisturbed run came to no good end."""
        self.need_config()
        if self.straight[1].status != 0:
            raise Unjudged("the undisturbed run did not finish")

    @property
    def answer(self) -> dict[str, Any]:
        """The declaration as `describe` tells it. Raises `Unjudged` if there is none."""
        self.need_answer()
        answer: dict[str, Any] = self.declared["answer"]
        return answer

    @cached_property
    def config(self) -> dict[str, Any]:
        """The complete config of the trial, with few steps where the config says how many. Raises `Unjudged`."""
        self.need_config()
        config: dict[str, Any] = self.declared["config"]
        given = STEPS in self.request.config
        short = isinstance(config.get(STEPS), int) and not given and config[STEPS] > SHORT_STEPS
        return {**config, STEPS: SHORT_STEPS} if short else config

    def new_run(self, config: dict[str, Any]) -> RunDir:
        """A run directory that has only its record, and the folder for commands."""
        self._runs += 1
        run = RunDir(self.folder / str(self._runs) / "run")
        run.commands.mkdir(parents=True, mode=0o700)
        seed = config.get("seed", 0)
        record = RunRecord(
            id=run.id, plugin=self.plugin, config=config, seed=seed if isinstance(seed, int) else 0, created=0.0
        )
        run.record_file.write_bytes(encode_record(record))
        return run

    @cached_property
    def straight(self) -> tuple[RunDir, Ending]:
        """The undisturbed run, however it ended."""
        run = self.new_run(self.config)
        return run, attempt(run, Act(), self.request.seconds)

    @property
    def finished(self) -> RunDir:
        """The undisturbed run. Raises `Unjudged` if it came to no good end."""
        self.need_finished()
        return self.straight[0]

    @cached_property
    def outcome(self) -> Outcome:
        return outcome(self.finished)

    @cached_property
    def metrics(self) -> list[MetricsLogged]:
        """Of the undisturbed run."""
        return [event for event in self.finished.events() if isinstance(event, MetricsLogged)]

    @cached_property
    def samples(self) -> list[Sample]:
        """Of the undisturbed run."""
        return list(self.finished.samples())

    @property
    def middle(self) -> int:
        """A number of finished steps that is not the first, not the last, and behind a checkpoint."""
        if len(self.metrics) < 4:
            raise Unjudged("needs a run of at least 4 steps: give --set")
        return 3

    def run_with(self, config: dict[str, Any]) -> tuple[RunDir, Ending]:
        """An undisturbed run of another config."""
        run = self.new_run(config)
        return run, attempt(run, Act(), self.request.seconds)

    def run_elsewhere(self) -> tuple[RunDir, Ending]:
        """The undisturbed run once more, in a fresh process."""
        run = self.new_run(self.config)
        return run, attempt_elsewhere(run, self.request.seconds)

    def struck(self, act: Act) -> tuple[RunDir, Ending]:
        """A run that something is done to, up to the end of that attempt."""
        self.need_finished()
        run = self.new_run(self.config)
        return run, attempt(run, act, self.request.seconds)

    def resumed(self, run: RunDir) -> str:
        """Goes on with a run to its end: how it then differs from the undisturbed one; empty if it doesn't."""
        ending = attempt(run, Act(), self.request.seconds)
        if ending.status != 0:
            return f"the resumed run {how_it_ended(run, ending, self.request.seconds)}"
        return self.difference(run)

    def difference(self, run: RunDir) -> str:
        return outcome(run).difference(self.outcome)


def how_it_ended(run: RunDir, ending: Ending, seconds: float) -> str:
    """In words, with the worker's last ones."""
    if ending.status is None:
        return f"had no end within {seconds:g} s"
    return f"ended with exit code {ending.status}: {last_words(run)}"


def last_words(run: RunDir) -> str:
    lines = run.log.read_text(errors="replace").strip().splitlines() if run.log.exists() else []
    return lines[-1] if lines else "nothing in its log"


def texts(trial: Trial) -> Iterator[str]:
    """Every name of the plugin's that people get to see."""
    answer = trial.answer
    yield from (answer["name"], answer["summary"], *answer["headline"])
    yield from (text for panel in answer["panels"] for text in (panel["title"], panel["unit"], *panel["metrics"]))
    yield from (text for column in answer["sample_columns"] for text in (column["metric"], column["title"]))
    yield from (text for option in answer["options"] for text in (option["key"], option["description"]))


def listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
