"""The memory plan of a run that was not started, with what links to a profile's other stages would become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlhf_console import plugins
from rlhf_console.gpus import Target
from rlhf_console.plan_text import with_peak
from rlhf_console.profiles import PIPELINE
from rlhf_console.requests import RunRequest, resolve_request
from rlhf_console.runs.store import LiveRun
from rlhf_sdk.planning import ALONE, PlanRanks
from rlhf_sdk.references import STAGE_PREFIX
from rlhf_sdk.trainer import UserError


def stages_linked(request: RunRequest) -> dict[str, Any]:
    """The profile's stages by name, where the config of a single plugin links to them."""
    if request.plugin == PIPELINE or not request.profile or not _links(request.config):
        return {}
    whole = resolve_request(PIPELINE, request.profile, [], [], None, Path())
    stages: dict[str, Any] = whole.config["stages"]
    return stages


def _links(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_links, value.values()))
    return isinstance(value, str) and value.startswith(STAGE_PREFIX)


def planned(
    plugin: str, config: dict[str, Any], stages: dict[str, Any], target: Target, root: Path, ranks: PlanRanks = ALONE
) -> dict[str, Any]:
    """A `PlanAdvice` as plain data, its rows with their peak; other runs are looked up in `root`.

    Raises `UserError` where the plugin has no plan, or none of several ranks.
    """
    found = plugins.advise(plugin, config, stages, target.device, root, ranks)
    if not found["rows"]:
        raise UserError(f"plugin {plugin!r} has no memory plan")
    if ranks.size > 1 and "layouts" not in found:
        raise UserError(f"--nproc: plugin {plugin!r} has a memory plan of one process alone")
    return found | {"rows": with_peak(found["rows"])}


def rows_of(run: LiveRun) -> list[dict[str, Any]]:
    """Rows of the memory that a run, or each of its ranks, was planned to need; none where its plugin has no plan.

    Raises `UserError` where the models that it would need are gone.
    """
    status = run.directory.status()
    ranks = status.options.ranks if status else 1
    return plugins.plan(run.record.plugin, run.record.config, run.directory.root, ranks)
