"""What the user asked to run, resolved and validated: a plugin and its complete config, or a pipeline of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlhf_console import plugins
from rlhf_console.profiles import (
    PIPELINE,
    Profile,
    Stage,
    check_sections,
    load_profile,
    parse_settings,
    provenance,
    replace_stage_links,
    resolve_stage,
)
from rlhf_console.runs.store import find
from rlhf_sdk.discovery import find_plugin
from rlhf_sdk.launch import create_run, refuse_secrets
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.spelling import nearest
from rlhf_sdk.trainer import UserError


@dataclass(frozen=True)
class RunRequest:
    """Ready to become a run: complete config, the origin of each value, and the configs by stage (one for a plugin).

    `parents`: runs that it goes on from, beside those that the config refers to; `cwd`: where relative paths are meant
    from, if not from here.
    """

    plugin: str
    profile: str
    config: dict[str, Any]
    provenance: dict[str, str]
    stages: dict[str, tuple[Stage, dict[str, Any]]] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    cwd: str = ""

    def create(self, root: Path, *, name: str, argv: Sequence[str], strict: bool = False) -> RunDir:
        """The run's directory, not yet started."""
        return create_run(
            root,
            plugin=self.plugin,
            config=self.config,
            name=name,
            profile=self.profile,
            provenance=self.provenance,
            parents=self.parents,
            argv=argv,
            strict=strict,
            cwd=self.cwd,
        )


def resolve_request(
    plugin: str, profile_name: str, settings: Sequence[str], from_runs: Sequence[str], seed: int | None, root: Path
) -> RunRequest:
    """Raises `UserError` naming whatever is wrong, before anything is written."""
    find_plugin(plugin)
    profile = load_profile(profile_name) if profile_name else None
    return request_of(plugin, profile, settings, from_runs, seed, root)


def request_of(
    plugin: str,
    profile: Profile | None,
    settings: Sequence[str],
    from_runs: Sequence[str],
    seed: int | None,
    root: Path,
) -> RunRequest:
    """The same of a profile that is already there. Raises `UserError`."""
    profile_name = profile.name if profile else ""
    stages = _stages_of(plugin, profile)
    reuse = reused_runs(from_runs, root)
    parsed = parse_settings(settings, [stage.name for stage in stages])
    keys = {stage.name: config_keys(stage.plugin) for stage in stages}
    if profile is not None and plugin == PIPELINE:
        check_sections(profile, stages, keys)
    configs, origins = {}, {}
    for stage in stages:
        resolved = resolve_stage(profile, stage, keys[stage.name], parsed.get(stage.name, {}), seed)
        refuse_secrets({stage.name: resolved.config})
        complete = validated(stage, replace_stage_links(resolved.config, reuse))
        configs[stage.name] = complete
        origins[stage.name] = provenance(complete, resolved.origins)
    if plugin != PIPELINE:
        (stage,) = stages
        described = {stage.name: (stage, configs[stage.name])}
        return RunRequest(plugin, profile_name, configs[stage.name], origins[stage.name], described)
    return _pipeline_request(profile_name, stages, configs, origins, reuse)


def data_setting(plugin: str, sources: Sequence[str]) -> list[str]:
    """`--data SOURCE...` as a setting of the plugin's data. Raises `UserError` where it has none of its own."""
    if not sources:
        return []
    schema = plugins.describe(plugin)["schema"]
    data = schema_properties(schema).get("data", {})
    if "source" not in schema_properties(schema, next(iter(data.get("allOf", [])), data)):
        own = "; its stages have: --set STAGE.data.source=[...]" if plugin == PIPELINE else ""
        raise UserError(f"--data: {plugin} has no key data.source{own}")
    return [f"{plugin}.data.source={json.dumps(list(sources))}"]


def resolve_check(
    plugin: str, profile_name: str, settings: Sequence[str], from_runs: Sequence[str], root: Path
) -> dict[str, Any]:
    """{"config", "stages"}: what `rlhf check` asks a plugin about, and the profile's stages that it may link to.

    Raises `UserError` as `resolve_request` does.
    """
    request = resolve_request(plugin, profile_name, settings, from_runs, None, root)
    if plugin == PIPELINE or not profile_name or not load_profile(profile_name).stages:
        return {"config": request.config, "stages": {}}
    whole = resolve_request(PIPELINE, profile_name, [], [], None, root)
    return {"config": request.config, "stages": whole.config["stages"]}


def validated(stage: Stage, config: dict[str, Any]) -> dict[str, Any]:
    """A stage's complete config. Raises `UserError` naming stage and key."""
    try:
        return plugins.validate(stage.plugin, config)
    except UserError as error:
        prefix = f"[{stage.name}] " if not str(error).startswith(f"{stage.name}.") else ""
        raise UserError(f"{prefix}{error}") from None


def _stages_of(plugin: str, profile: Profile | None) -> list[Stage]:
    if plugin != PIPELINE:
        return [Stage(plugin, plugin)]
    if profile is None or not profile.stages:
        named = f"profile {profile.name!r} has none" if profile else "no --profile was given"
        raise UserError(f"a pipeline takes its stages from a profile's [pipeline] section; {named}")
    return profile.stages


def reused_runs(from_runs: Sequence[str], root: Path) -> dict[str, str]:
    """`--from STAGE=RUN` as stage -> id. Raises `UserError` for a run that is not there."""
    reuse = {}
    for entry in from_runs:
        stage, separator, run = entry.partition("=")
        if not separator:
            raise UserError(f"--from {entry!r}: expected STAGE=RUN, such as --from sft=latest")
        reuse[stage] = find(root, run).record.id
    return reuse


def config_keys(plugin: str) -> set[str]:
    """The top-level keys of a plugin's config."""
    return set(schema_properties(plugins.describe(plugin)["schema"]))


def schema_properties(schema: Mapping[str, Any], node: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Properties of an object in a JSON schema, `$ref` followed."""
    node = schema if node is None else node
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    properties: dict[str, Any] = dict(node.get("properties", {}))
    return properties


def _pipeline_request(
    profile: str,
    stages: Sequence[Stage],
    configs: Mapping[str, dict[str, Any]],
    origins: Mapping[str, dict[str, str]],
    reuse: Mapping[str, str],
) -> RunRequest:
    names = [stage.name for stage in stages]
    for name in reuse:
        if name not in names:
            raise UserError(f"--from {name}=...: no stage {name!r}; there is {', '.join(names)}.{nearest(name, names)}")
    config = {
        "stages": {stage.name: {"plugin": stage.plugin, "config": configs[stage.name]} for stage in stages},
        "reuse": dict(reuse),
    }
    combined = {f"stages.{stage}.config.{key}": origin for stage in names for key, origin in origins[stage].items()}
    described = {stage.name: (stage, configs[stage.name]) for stage in stages}
    return RunRequest(PIPELINE, profile, plugins.validate(PIPELINE, config), combined, described)
