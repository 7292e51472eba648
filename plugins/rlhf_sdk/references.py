"""References to other runs inside a config: "run:ID" (newest good checkpoint) and "run:ID@step-00000120" (pinned).

"stage:NAME" links the stages of a pipeline. It is allowed only within a stage, a table of `plugin` and `config`, whose
references are left as they are until the stage's own run is made.

"preferences" in a list called `source` are the votes of the runs' folder (vote_sources.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlhf_sdk.checkpoints import checkpoint_step, damage, latest_good, list_checkpoints
from rlhf_sdk.run_root import find_run
from rlhf_sdk.shards.assembling import assembled
from rlhf_sdk.spelling import nearest
from rlhf_sdk.trainer import UserError
from rlhf_sdk.vote_sources import VoteFiles, votes_at

RUN_PREFIX = "run:"
STAGE_PREFIX = "stage:"
MODEL = "model"
COMPARISONS = "comparisons"
"""What a checkpoint may have beside, or instead of, a model: a folder of labelled comparisons."""


def map_strings(value: Any, change: Callable[[str], str]) -> Any:
    """Plain data with `change` applied to every string value (not to keys)."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: map_strings(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [map_strings(item, change) for item in value]
    return value


def pin(root: Path, config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """`config` with "run:ID" pinned to a checkpoint, votes to a number of rows, and the parents: dotted key -> run id.

    Raises `UserError` for a run that doesn't exist, one without a good checkpoint, votes where there are none, and a
    "stage:NAME" that is left.
    """
    parents: dict[str, str] = {}
    return _pin(root, config, "", parents), parents


def _pin(root: Path, value: Any, key: str, parents: dict[str, str]) -> Any:
    if is_stage(value):
        return {**value, "config": _pin_stage(root, value["config"], key, parents)}
    if isinstance(value, dict):
        return {name: _pin(root, item, f"{key}.{name}".lstrip("."), parents) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_pin(root, item, f"{key}.{index}", parents) for index, item in enumerate(value)]
    if isinstance(value, str) and value.startswith(STAGE_PREFIX):
        stage = value.removeprefix(STAGE_PREFIX)
        raise UserError(f"{key} = {value!r} is a link within a pipeline; name the run to use: --from {stage}=RUN")
    if isinstance(value, str) and value.startswith(RUN_PREFIX):
        pinned = pin_reference(root, value, key)
        parents[key] = pinned.removeprefix(RUN_PREFIX).partition("@")[0]
        return pinned
    return _pin_votes(root, value, key) if isinstance(value, str) else value


def _pin_votes(root: Path, value: str, key: str) -> str:
    votes = votes_at(key, value)
    try:
        return value if votes is None else str(votes.pinned(root))
    except UserError as error:
        raise UserError(f"{key} = {value!r}: {error}") from None


def is_stage(value: Any) -> bool:
    """Whether plain data is the config of a pipeline's stage."""
    return isinstance(value, dict) and value.keys() == {"plugin", "config"}


def _pin_stage(root: Path, config: Any, key: str, parents: dict[str, str]) -> Any:
    def change(value: str) -> str:
        return _pin(root, value, key, parents) if value.startswith(RUN_PREFIX) else value

    return map_strings(config, change)


def pin_reference(root: Path, reference: str, key: str = "reference") -> str:
    """`"run:ID"` or a unique beginning of it as `"run:ID@step-..."`; `"run:ID@120"` names a step for short.

    Raises `UserError` naming `key` if it can't be.
    """
    text, _, step = reference.removeprefix(RUN_PREFIX).partition("@")
    try:
        run = find_run(root, text)
    except UserError as error:
        raise UserError(f"{key} = {reference!r}: {error}") from None
    if step:
        step = f"step-{int(step):08d}" if step.isdecimal() else step
        _check_pinned(run.checkpoints, step, f"{key} = {reference!r}")
        return f"{RUN_PREFIX}{run.id}@{step}"
    checkpoint, problems = latest_good(run.checkpoints, contents=False)
    if checkpoint is None:
        raise UserError(f"{key} = {reference!r}: run {run.id} is {run.state()} and has no {_wanted(problems)}")
    return f"{RUN_PREFIX}{run.id}@{checkpoint.name}"


def _wanted(problems: dict[str, str]) -> str:
    if not problems:
        return "checkpoint"
    return "good checkpoint: " + "; ".join(f"{name}: {problem}" for name, problem in problems.items())


def _check_pinned(directory: Path, step: str, what: str) -> None:
    try:
        checkpoint_step(step)
    except ValueError as error:
        raise UserError(f"{what}: {error}") from None
    if not (directory / step).is_dir():
        names = [path.name for path in list_checkpoints(directory)]
        raise UserError(f"{what}: no such checkpoint; there is {', '.join(names) or 'none'}.{nearest(step, names)}")


def resolve(
    root: Path, config: dict[str, Any], votes: VoteFiles | None = None, *, weights: bool = True
) -> dict[str, Any]:
    """`config` with each pinned reference replaced by the directory of its model, or of its comparisons where it has no
    model, after a check of its contents, and votes by a file of comparisons that `votes` makes.

    A model whose weights lie in pieces is assembled first; with `weights` False its directory may be without them.
    Raises `UserError` if a checkpoint is gone, damaged, or has neither, or if votes can't be read.
    """
    resolving = _Resolving(root, votes or VoteFiles(), weights)
    return {key: resolving.of_value(value, key) for key, value in config.items()}


@dataclass(frozen=True)
class _Resolving:
    root: Path
    votes: VoteFiles
    weights: bool

    def of_value(self, value: Any, key: str) -> Any:
        if is_stage(value):
            return value
        if isinstance(value, dict):
            return {name: self.of_value(item, f"{key}.{name}") for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.of_value(item, f"{key}.{index}") for index, item in enumerate(value)]
        return self._of_text(value, key) if isinstance(value, str) else value

    def _of_text(self, value: str, key: str) -> str:
        if value.startswith(RUN_PREFIX):
            return _directory_of(self.root, value, weights=self.weights)
        source = votes_at(key, value)
        return value if source is None else self.votes.file_of(self.root, source)


def _directory_of(root: Path, value: str, *, weights: bool) -> str:
    run, _, step = pin_reference(root, value).removeprefix(RUN_PREFIX).partition("@")
    checkpoint = root / run / "checkpoints" / step
    if problem := damage(checkpoint):
        raise UserError(f"{value!r}: {checkpoint} is damaged: {problem}")
    if weights:
        checkpoint = assembled(checkpoint)
    for name in (MODEL, COMPARISONS):
        if (checkpoint / name).is_dir():
            return str(checkpoint / name)
    raise UserError(f"{value!r}: run {run} trains no model (its checkpoint has no {MODEL}/)")
