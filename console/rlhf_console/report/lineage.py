"""What was trained on what: data and models of each run, and the runs that they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlhf_console.profiles import flatten
from rlhf_console.report.document import Section, Table
from rlhf_console.report.naming import name_of
from rlhf_console.runs.store import LiveRun, headings, readable_run
from rlhf_sdk.references import RUN_PREFIX

KEPT = "rows kept"
"""What a trainer notes of its data."""

REWARD_MODEL = "reward_model"
"""An evaluation's subject, and what names it."""

DATA = {"data": "", "eval_data": "held out: ", "norm_data": "scores normalised on: ", "comparisons": "comparisons: "}
"""Sections of a config that name data, and what to say before each."""


def ancestors(root: Path, runs: Sequence[LiveRun]) -> list[LiveRun]:
    """The runs that these came from and are not among them, oldest first, read to their end."""
    found, own = dict[str, LiveRun](), {run.record.id for run in runs}
    waiting = [*runs]
    while waiting:
        for parent in waiting.pop().record.parents.values():
            if parent not in own | found.keys() and (known := readable_run(root, parent)) is not None:
                found[parent] = known
                waiting.append(known)
    return [run.catch_up() for run in sorted(found.values(), key=lambda run: run.record.created)]


def examined_later(root: Path, runs: Sequence[LiveRun]) -> list[LiveRun]:
    """Other runs that judged a reward model among these, read to their end."""
    own = {run.record.id for run in runs}
    about = [heading.id for heading in headings(root) if heading.parents.get(REWARD_MODEL) in own]
    found = [readable_run(root, run_id) for run_id in about if run_id not in own]
    return [run.catch_up() for run in found if run and run.record.config.get("what") == REWARD_MODEL]


def what_was_trained(runs: Sequence[LiveRun], earlier: Sequence[LiveRun]) -> Section:
    """A row for each run, those first that the others came from."""
    everyone = [*earlier, *runs]
    names = {run.record.id: name_of(run) for run in everyone}
    rows = [
        [names[run.record.id], run.record.id, _data(run), _rows(run), _model(run), _parents(run, names)]
        for run in everyone
    ]
    columns = ["stage", "run", "data", "rows", "model", "came from"]
    return Section("What was trained on what", [Table(columns, rows)])


def _data(run: LiveRun) -> str:
    described = {say: _described(run.record.config.get(key)) for key, say in DATA.items()}
    return "; ".join(f"{say}{data}" for say, data in described.items() if data)


def _described(data: Any) -> str:
    """Source and split; in the built-in world the seed of its posts. Empty where there is no source."""
    if not isinstance(data, Mapping) or not data.get("source"):
        return ""
    source = data["source"]
    named = ", ".join(map(str, source)) if isinstance(source, list) else str(source)
    if named == "world":
        return f"built-in world, posts of seed {data.get('world_seed')}"
    return f"{named}, {data['split']}" if data.get("split") else named


def _rows(run: LiveRun) -> str:
    return "; ".join(dict.fromkeys(note for note in run.summary.notes if KEPT in note))


def _model(run: LiveRun) -> str:
    """From scratch or from elsewhere; a model of another run stands among what it came from."""
    model = run.record.config.get("model", {})
    if not isinstance(model, Mapping):
        return str(model)
    path, init = str(model.get("path") or ""), model.get("init")
    if path:
        return "" if path.startswith(RUN_PREFIX) else path
    sizes = ", ".join(f"{key} {value}" for key, value in init.items() if value) if isinstance(init, Mapping) else ""
    return f"from scratch: {sizes}" if sizes else ""


def _parents(run: LiveRun, names: Mapping[str, str]) -> str:
    """The first role of each model, with its stage, or its run where that is not in this report, and the checkpoint."""
    values, roles = flatten(run.record.config), dict[str, str]()
    for role, parent in run.record.parents.items():
        roles.setdefault(f"{names.get(parent, parent)}{_checkpoint(values.get(role))}", role.removesuffix(".path"))
    return "; ".join(f"{role}: {model}" for model, role in roles.items())


def _checkpoint(reference: Any) -> str:
    step = str(reference).partition("@")[2]
    return f" at {step}" if step else ""
