"""What a run leaves behind, but times, memory, pids, attempts and sequence numbers; and what no run may leave."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from rlhf_sdk.checkpoints import damage, list_checkpoints
from rlhf_sdk.events import ASKED, Check, Event, MetricsLogged, Result, Sample, Started
from rlhf_sdk.run_dir import RunDir

UNSTEADY = {"schema", "seq", "attempt", "time", "seconds", "memory", "bytes"}
UNSTEADY_METRICS = ("throughput/", "time/", "memory/")
UNSTEADY_FILES = ("MANIFEST.json", "worker.json")


@dataclass(frozen=True)
class Outcome:
    """What two runs of the same config must have in common, bit for bit, by name."""

    facts: dict[str, Any]

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()[:16]

    def difference(self, other: Outcome) -> str:
        """What the first difference is, in words; empty if there is none."""
        for name in sorted({*self.facts, *other.facts}):
            mine, theirs = self.facts.get(name), other.facts.get(name)
            if mine != theirs:
                return f"{name}: {_short(mine)} instead of {_short(theirs)}"
        return ""


def _short(fact: Any) -> str:
    text = str(fact)
    return text if len(text) <= 160 else f"{text[:160]}..."


def outcome(run: RunDir) -> Outcome:
    """Of a run and of its stages; what somebody asked to sample is nothing that it would have written by itself."""
    facts: dict[str, Any] = {}
    for one in [run, *(RunDir(folder) for folder in sorted(run.root.glob(f"{run.id}.*")))]:
        prefix = one.id.removeprefix(run.id).removeprefix(".")
        facts |= {f"{prefix} {name}".strip(): fact for name, fact in _facts(one).items()}
    return Outcome(facts)


def _facts(run: RunDir) -> dict[str, Any]:
    newest = list_checkpoints(run.checkpoints)[-1:]
    starts = [event for event in run.events() if isinstance(event, Started)]
    events = told_once(standing(run.events(), starts))
    samples = standing_samples(run.samples(), starts)
    facts: dict[str, Any] = {f"event {number}": _steady(event) for number, event in enumerate(events)}
    facts |= {f"sample {number}": _steady(sample) for number, sample in enumerate(samples)}
    facts |= {"checkpoint": [checkpoint.name for checkpoint in newest]}
    return facts | {name: digest for folder in [*newest, run.data] for name, digest in _hashes(folder).items()}


def standing(events: Iterable[Event], starts: Sequence[Started]) -> list[Event]:
    """Those that no later attempt has superseded."""
    return [
        event
        for event in events
        if not any(start.attempt > event.attempt and event.seq > start.resumed_seq for start in starts)
    ]


def told_once(events: Iterable[Event]) -> list[Event]:
    """Metrics, results, and lights that are new or changed: a resumed run tells each light once more."""
    kept: list[Event] = []
    lights: dict[str, str] = {}
    for event in events:
        known = isinstance(event, Check) and lights.get(event.name) == event.status
        if isinstance(event, Check):
            lights[event.name] = event.status
        if isinstance(event, MetricsLogged | Check | Result) and not known:
            kept.append(event)
    return kept


def standing_samples(samples: Iterable[Sample], starts: Sequence[Started]) -> list[Sample]:
    return [
        sample
        for sample in samples
        if sample.tag != ASKED
        and not any(start.attempt > sample.attempt and sample.seq > start.resumed_sample_seq for start in starts)
    ]


def _steady(record: Event | Sample) -> str:
    plain = {key: value for key, value in msgspec.to_builtins(record).items() if key not in UNSTEADY}
    if isinstance(record, MetricsLogged):
        plain["values"] = {k: v for k, v in record.values.items() if not k.startswith(UNSTEADY_METRICS)}
    return json.dumps(plain, sort_keys=True)


def _hashes(folder: Path) -> dict[str, str]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file() and file.name not in UNSTEADY_FILES)
    return {str(file.relative_to(folder.parent)): hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in files}


def faults(run: RunDir) -> list[str]:
    """What is wrong with the record that a finished run leaves, whatever happened on the way."""
    events, samples = run.events(), run.samples()
    numbers = {"events": [event.seq for event in events], "samples": [sample.seq for sample in samples]}
    found = [f"{name} are not numbered 1, 2, ..." for name, seqs in numbers.items() if not _counts(seqs)]
    if events.damaged or samples.damaged:
        found.append(f"{events.damaged} events and {samples.damaged} samples are damaged")
    attempts = [event.attempt for event in run.events()]
    if attempts != sorted(attempts):
        found.append("an older attempt wrote after a newer one")
    found += [f"unanswered command: {path.name}" for path in run.commands.iterdir()]
    found += [f"{path.name}: {problem}" for path in list_checkpoints(run.checkpoints) if (problem := damage(path))]
    strangers = [path.name for path in run.checkpoints.iterdir() if path.name.startswith(".")]
    return found + [f"left in checkpoints: {name}" for name in strangers]


def _counts(numbers: list[int]) -> bool:
    """Whether these are 1, 2, 3, ... in their order; a line lost with its number leaves no gap either."""
    return numbers == list(range(1, len(numbers) + 1))
