"""A run that was, once more: from the beginning, on from one of its checkpoints, or from the model in one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from rlhf_console import plugins
from rlhf_console.profiles import PIPELINE, Stage, flatten, merge, nested, parse_settings, replace_stage_links
from rlhf_console.requests import RunRequest, validated
from rlhf_sdk.checkpoints import list_checkpoints
from rlhf_sdk.forking import FORK, copy_to_fork, find_checkpoint, state_to_fork
from rlhf_sdk.launch import NO_OPTIONS
from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import RunRecord
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError

TYPED, SET_IN = "--set", "set in"
MODEL_KEY = "model.path"
Way = Literal["relaunch", "fork", "model"]


@dataclass(frozen=True)
class Again:
    """Which run, and from where: `checkpoint` is empty at a relaunch; `reuse` has a pipeline's stages that are kept."""

    run: RunDir
    way: Way = "relaunch"
    checkpoint: str = ""
    reuse: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For people."""
        if self.way == "fork":
            return f"{self.run.id} from {self.checkpoint} on"
        if self.way == "model":
            return f"{self.run.id} again, from the model of {self.checkpoint}"
        kept = f", {', '.join(self.reuse)} as it was" if self.reuse else ""
        return f"{self.run.id} from the beginning{kept}"

    def request(self, settings: Sequence[str]) -> RunRequest:
        """The run's config with these settings (STAGE.KEY=VALUE). Raises `UserError` naming what is wrong."""
        record = self.run.record()
        if self.way == "fork" and record.plugin == PIPELINE:
            raise UserError(f"{record.id} is a pipeline: fork one of its stages, or relaunch it")
        changed = self._changed_by_checkpoint(record)
        if record.plugin == PIPELINE:
            request = _pipeline(record, settings, self.reuse)
        else:
            request = _single(record, settings, changed)
        parents = {FORK: record.id} if self.way == "fork" else {}
        return replace(request, parents=parents, cwd=record.cwd)

    def create(self, request: RunRequest, root: Path, argv: Sequence[str]) -> RunDir:
        """The run's directory, not yet started; a fork's with the checkpoint. Raises `UserError`."""
        record = self.run.record()
        checkpoint = find_checkpoint(self.run, self.checkpoint) if self.way == "fork" else None
        run = request.create(root, name=record.name, argv=argv, strict=record.strict)
        if checkpoint is not None:
            try:
                copy_to_fork(checkpoint, run)
            except UserError:
                shutil.rmtree(run.path)
                raise
        return run

    def options(self, asked: AttemptOptions = NO_OPTIONS) -> AttemptOptions:
        """What was asked for, with as many processes as the run had where nothing is said of them."""
        status = self.run.status()
        return asked.as_before(status.options) if status else asked

    def _changed_by_checkpoint(self, record: RunRecord) -> dict[str, tuple[Any, str]]:
        """Dotted key -> value and its origin: what was set by hand until a fork's checkpoint, or the model of one."""
        if self.way == "fork":
            state = state_to_fork(find_checkpoint(self.run, self.checkpoint, contents=False))
            return {key: (value, f"{SET_IN} {record.id}") for key, value in state.live_values.items()}
        if self.way == "model":
            if MODEL_KEY not in flatten(record.config):
                raise UserError(f"{record.plugin} has no key {MODEL_KEY!r}: it can't begin from a model")
            found = find_checkpoint(self.run, self.checkpoint, contents=False)
            return {MODEL_KEY: (f"run:{record.id}@{found.name}", f"model of {record.id}")}
        return {}


def ways_of(run: RunDir, root: Path) -> list[Again]:
    """All that can be tried, the newest checkpoint first. Raises `UserError` for a damaged record."""
    record, ways = run.record(), [Again(run)]
    if record.plugin == PIPELINE:
        return ways + _kept_stages(run, record, root)
    for checkpoint in reversed(list_checkpoints(run.checkpoints)):
        try:
            state_to_fork(checkpoint)
            ways.append(Again(run, "fork", checkpoint.name))
        except (UserError, OSError):
            pass
        if MODEL_KEY in flatten(record.config) and (checkpoint / "model").is_dir():
            ways.append(Again(run, "model", checkpoint.name))
    return ways


def _kept_stages(run: RunDir, record: RunRecord, root: Path) -> list[Again]:
    """Again with the first stage as it was, with the first two, and so on, as far as they are finished."""
    found, reuse = list[Again](), dict[str, str]()
    for stage in list(record.config["stages"])[:-1]:
        done = RunDir(root / record.config.get("reuse", {}).get(stage, f"{run.id}.{stage}"))
        if not done.record_file.is_file() or done.state() is not State.FINISHED:
            break
        reuse[stage] = done.id
        found.append(Again(run, reuse=dict(reuse)))
    return found


def _single(record: RunRecord, settings: Sequence[str], changed: Mapping[str, tuple[Any, str]]) -> RunRequest:
    stage = Stage(record.plugin, record.plugin)
    typed = parse_settings(settings, [stage.name]).get(stage.name, {})
    base = merge(record.config, nested({key: value for key, (value, _) in changed.items()}))
    complete = validated(stage, merge(base, typed))
    origins = {key: origin for key, (_, origin) in changed.items()} | dict.fromkeys(flatten(typed), TYPED)
    provenance = _provenance(complete, record.provenance, origins)
    return RunRequest(record.plugin, record.profile, complete, provenance, {stage.name: (stage, complete)})


def _pipeline(record: RunRecord, settings: Sequence[str], reuse: Mapping[str, str]) -> RunRequest:
    stages = [Stage(name, stage["plugin"]) for name, stage in record.config["stages"].items()]
    typed = parse_settings(settings, [stage.name for stage in stages])
    wanted = {**record.config.get("reuse", {}), **reuse}
    described, provenance = {}, dict[str, str]()
    for stage in stages:
        base = record.config["stages"][stage.name]["config"]
        own = typed.get(stage.name, {})
        complete = validated(stage, replace_stage_links(merge(base, own), wanted))
        prefix = f"stages.{stage.name}.config."
        before = {
            key.removeprefix(prefix): origin for key, origin in record.provenance.items() if key.startswith(prefix)
        }
        found = _provenance(complete, before, dict.fromkeys(flatten(own), TYPED))
        provenance |= {f"{prefix}{key}": origin for key, origin in found.items()}
        described[stage.name] = (stage, complete)
    config = {
        "stages": {stage.name: {"plugin": stage.plugin, "config": described[stage.name][1]} for stage in stages},
        "reuse": wanted,
    }
    return RunRequest(PIPELINE, record.profile, plugins.validate(PIPELINE, config), provenance, described)


def _provenance(complete: Mapping[str, Any], before: Mapping[str, str], changed: Mapping[str, str]) -> dict[str, str]:
    """As it was, but for what has changed."""
    return {key: changed.get(key, before.get(key, "default")) for key in flatten(complete)}
