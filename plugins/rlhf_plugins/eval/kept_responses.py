"""Responses on disk as soon as they are sampled: a run that goes on without a checkpoint judges the same texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rlhf_engine.eval.policies import Responses
from rlhf_sdk.files import make_private_directory, write_atomically

FOLDER = "responses"


def kept(data: Path, number: int, sample: Callable[[], Responses]) -> Responses:
    """What `sample` gives, or gave when it was last called for this `number`; `data` is the run's own folder."""
    file = data / FOLDER / f"{number}.json"
    if file.exists():
        return Responses(**json.loads(file.read_bytes()))
    responses = sample()
    make_private_directory(data)
    make_private_directory(file.parent)
    write_atomically(file, json.dumps(asdict(responses)).encode())
    return responses
