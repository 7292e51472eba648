"""One plugin under torture: straight first, then struck, resumed, and compared."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.torture.attempts import Ending, attempt
from benchmarks.torture.moments import Blow
from benchmarks.torture.points import Blows, draw, full_disks
from rlhf_sdk import launch
from rlhf_sdk.checkpoints import latest_good
from rlhf_sdk.events import Finished
from rlhf_sdk.outcomes import Outcome, faults, outcome
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import RunRecord, encode_record
from rlhf_sdk.states import ENDED, LIVE

Config = dict[str, Any]

MOST_ATTEMPTS = 8
ALLOWED_ENDINGS = {0, 75, 137, 138, 140, 143}
"""Done, checkpointed, killed, stopped; 138, 140 and 143 also where a signal comes before the worker listens to any."""


@dataclass
class Found:
    """What came of one plugin's points; `mismatches` say what and where, with the blows.

    `straight` is a digest of what the undisturbed run left: the same in every process.
    """

    plugin: str
    straight: str = ""
    moments: int = 0
    points: int = 0
    attempts: int = 0
    places: Counter[str] = field(default_factory=Counter)
    how: Counter[str] = field(default_factory=Counter)
    mismatches: list[str] = field(default_factory=list)

    def summary(self) -> str:
        return (
            f"{self.plugin}: {self.points} points of {self.moments} moments, {self.attempts} attempts, "
            f"{len(self.mismatches)} mismatches"
        )

    def as_figures(self) -> dict[str, Any]:
        return {
            "straight": self.straight,
            "moments": self.moments,
            "points": self.points,
            "attempts": self.attempts,
            "places": dict(sorted(self.places.items())),
            "how": dict(sorted(self.how.items())),
            "mismatches": self.mismatches,
        }


class Trial:
    """Runs of one plugin below `folder`; those that went wrong stay there."""

    def __init__(self, folder: Path, plugin: str, config: Config, say: Callable[[str], None]) -> None:
        self.folder, self.plugin, self.config, self.say = folder, plugin, config, say
        self.found = Found(plugin)
        self.straight, self.places = self._undisturbed("straight")
        again, _ = self._undisturbed("again")
        if difference := again.difference(self.straight):
            self.found.mismatches.append(f"two undisturbed runs differ: {difference}")
        self.found.straight, self.found.moments = self.straight.digest, len(self.places)

    def _undisturbed(self, name: str) -> tuple[Outcome, list[str]]:
        run = self._new_run(name)
        ending = attempt(run)
        if ending.status != 0:
            raise RuntimeError(f"{run.path}: the undisturbed run ended with {ending.status}; see {run.log}")
        return outcome(run), ending.places

    def _new_run(self, name: str) -> RunDir:
        """A run directory that has only its record, and the folder for commands."""
        run = RunDir(self.folder / name / self.plugin)
        run.commands.mkdir(parents=True, mode=0o700)
        seed = self.config.get("seed", 0)
        record = RunRecord(id=run.id, plugin=self.plugin, config=self.config, seed=seed, created=0.0)
        run.record_file.write_bytes(encode_record(record))
        return run

    def kill_points(self, count: int, seed: int) -> None:
        """Strikes `count` runs, most of them more than once."""
        for number, attempts in enumerate(draw(self.places, count, random.Random(f"{seed}/{self.plugin}"))):
            self.strike(f"point-{number}", attempts)

    def full_disks(self, most: int, seed: int) -> None:
        """A full disk at every write, or at `most` of them."""
        for number, blow in enumerate(full_disks(self.places, most, random.Random(f"{seed}/{self.plugin}/disk"))):
            self.starve(f"full-{number}", blow)

    def strike(self, name: str, attempts: Sequence[Blows]) -> None:
        """One run, with the blows to its first, second, ... attempt."""
        self._try(name, attempts, self._struck_and_resumed)

    def starve(self, name: str, blow: Blow) -> None:
        """One run that finds the disk full."""
        self._try(name, [(blow,)], self._starved_and_resumed)

    def _try(self, name: str, attempts: Sequence[Blows], survives: Callable[[RunDir, Sequence[Blows]], str]) -> None:
        began, run = time.perf_counter(), self._new_run(name)
        problem = survives(run, attempts)
        self.found.points += 1
        what = "; ".join(", ".join(f"{blow.how} at {blow.at}" for blow in blows) for blows in attempts)
        self.say(f"{self.plugin} {name}: {what}: {problem or 'equal'} ({time.perf_counter() - began:.1f} s)")
        if problem:
            self.found.mismatches.append(f"{name} ({what}): {problem}")
        else:
            shutil.rmtree(run.root)

    def _struck_and_resumed(self, run: RunDir, attempts: Sequence[Blows]) -> str:
        """What is wrong in the end; empty if nothing is."""
        for blows in [*attempts, *[()] * (MOST_ATTEMPTS - len(attempts))]:
            ending = self._attempt(run, blows)
            if ending.status not in ALLOWED_ENDINGS:
                return f"attempt ended with {ending.status}; see {run.log}"
            if ending.status == 0:
                return self._verdict(run)
        return f"no end after {MOST_ATTEMPTS} attempts"

    def _attempt(self, run: RunDir, blows: Blows) -> Ending:
        _wait_for_stages(run)
        ending = attempt(run, blows)
        self.found.attempts += 1
        self.found.how.update(how for how, _ in ending.struck)
        self.found.places.update(place for _, place in ending.struck)
        return ending

    def _starved_and_resumed(self, run: RunDir, attempts: Sequence[Blows]) -> str:
        """A disk that is full ends the run as the user's mistake, in words, or harms nothing; then it goes on."""
        ending = self._attempt(run, attempts[0])
        if ending.status not in (0, 2):
            return f"ended with {ending.status} on a full disk; see {run.log}"
        if ending.status == 2 and (problem := _unclear_end(run)):
            return problem
        found, damaged = latest_good(run.checkpoints)
        if damaged:
            return f"damaged checkpoints: {damaged}; good: {found}"
        return self._verdict(run) if ending.status == 0 else self._struck_and_resumed(run, [])

    def _verdict(self, run: RunDir) -> str:
        """Whether a run that came to its end is like the undisturbed one, and its record in order."""
        wrong = faults(run)
        return wrong[0] if wrong else outcome(run).difference(self.straight)


def _unclear_end(run: RunDir) -> str:
    """What is wrong with the last words of a run on a full disk; before its first event it can only print them."""
    said = run.log.read_text()
    for last in run.last_events(1):
        said = last.reason if isinstance(last, Finished) else f"an event: {last}"
    return "" if "No space left on device" in said else f"a full disk, but the last word is {said[-200:]!r}"


def _wait_for_stages(run: RunDir) -> None:
    """Until no stage of a pipeline is at work: a killed pipeline leaves the stage alone."""
    for folder in run.root.glob(f"{run.id}.*"):
        stage = RunDir(folder)
        while stage.state() in LIVE and stage.state() not in ENDED:
            time.sleep(0.05)
        if stage.status() is not None:
            launch.wait(stage)
