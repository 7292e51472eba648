"""Responses on disk as soon as they are there: a run that goes on judges the same texts, and others sample no more."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import msgspec

from rlhf_engine.eval.policies import Responses
from rlhf_engine.eval.samples import Samples
from rlhf_engine.hooks import Hooks
from rlhf_sdk.files import make_private_directory, write_atomically

FOLDER = "responses"


def kept(data: Path, number: int, sample: Callable[[], dict[str, Responses]]) -> dict[str, Responses]:
    """What `sample` gives by name, or gave when it was last called for this `number`; `data`: the run's own folder."""
    file = data / FOLDER / f"{number}.json"
    if file.exists():
        return {name: Responses(**fields) for name, fields in json.loads(file.read_bytes()).items()}
    found = sample()
    make_private_directory(data)
    make_private_directory(file.parent)
    write_atomically(file, json.dumps({name: asdict(responses) for name, responses in found.items()}).encode())
    return found


class SampleStore:
    """Samples of all evaluations below a run root, by what decides them: one file for each key."""

    def __init__(self, root: Path, hooks: Hooks) -> None:
        self.folder, self.hooks = root / FOLDER, hooks
        make_private_directory(self.folder)

    def __call__(self, key: Callable[[], str], rows: int, draw: Callable[[], Samples]) -> Samples:
        """The first `rows` that are there; else all of them anew, for fewer are of no use."""
        file = self.folder / f"{key()}.json"
        known = msgspec.json.decode(file.read_bytes(), type=Samples) if file.exists() else None
        if known is not None and len(known.tokens) >= rows:
            self.hooks.note(
                f"{rows} responses of an earlier evaluation are taken: {FOLDER}/{file.name} of the run root"
            )
            return known.first(rows)
        samples = draw()
        write_atomically(file, msgspec.json.encode(samples))
        return samples
