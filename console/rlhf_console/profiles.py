"""Profiles: TOML files with settings for every stage. default < common < section < extending profile < --set.

Every value of a resolved config knows where it came from.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlhf_sdk.references import STAGE_PREFIX, map_strings
from rlhf_sdk.spelling import nearest
from rlhf_sdk.trainer import UserError

SPECIAL = ("summary", "extends", "common", "pipeline")
PIPELINE, SWEEP = "pipeline", "sweep"


@dataclass(frozen=True)
class Layer:
    """Values from one place, and that place's name."""

    origin: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """A stage of a pipeline: its own name, and the plugin that does it."""

    name: str
    plugin: str


@dataclass(frozen=True)
class Profile:
    """A profile with what it extends, farthest first."""

    name: str
    summary: str
    layers: list[Layer]

    def section(self, name: str) -> list[Layer]:
        """The layers of one section; values of a later layer win."""
        return [
            Layer(layer.origin if name != "common" else f"{layer.origin}: common", layer.values[name])
            for layer in self.layers
            if name in layer.values
        ]

    @property
    def stages(self) -> list[Stage]:
        """The pipeline's stages, in order; none if the profile has no pipeline."""
        listed: list[str] = []
        for layer in self.section(PIPELINE):
            listed = layer.values.get("stages", listed)
        return [Stage(name, plugin or name) for name, _, plugin in (entry.partition("=") for entry in listed)]


@dataclass(frozen=True)
class Resolved:
    """A config before its defaults are filled in, and the origin of each dotted key that was set."""

    config: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)


def profile_folders() -> list[Path]:
    """Where profiles are looked for, the nearest first: ./profiles, the user's own, the built-in ones."""
    user = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "rlhf" / "profiles"
    package = Path(__file__).parent
    return [Path("profiles"), user, package / "builtin_profiles", package.parent.parent / "profiles"]


def list_profiles() -> dict[str, Path]:
    """Name -> file; a nearer profile hides a farther one of the same name."""
    found: dict[str, Path] = {}
    for folder in profile_folders():
        for file in sorted(folder.glob("*.toml")):
            found.setdefault(file.stem, file)
    return dict(sorted(found.items()))


def load_profile(name: str) -> Profile:
    """The profile called `name`, or in the file `name`.

    Raises `UserError` if it is unknown, damaged or goes in circles.
    """
    layers: dict[str, Layer] = {}
    _add_layers(name, (), layers)
    summaries = [str(layer.values["summary"]) for layer in layers.values() if "summary" in layer.values]
    return Profile(name, summaries[-1] if summaries else "", list(layers.values()))


def _add_layers(name: str, below: tuple[str, ...], layers: dict[str, Layer]) -> None:
    """Adds to `layers` what `name` extends, in the order that it says, each profile once, and then itself."""
    if name in below:
        raise UserError(f"profile {below[0]!r} extends itself: {' -> '.join([*below, name])}")
    if name in layers:
        return
    values = _read(name)
    extended = values.get("extends", [])
    for other in [extended] if isinstance(extended, str) else extended:
        _add_layers(other, (*below, name), layers)
    layers[name] = Layer(f"profile {Path(name).stem}", values)


def _read(name: str) -> dict[str, Any]:
    if name.endswith(".toml"):
        file = Path(name)
    else:
        known = list_profiles()
        if name not in known:
            raise UserError(f"unknown profile {name!r}; there is {', '.join(known)}.{nearest(name, known)}")
        file = known[name]
    try:
        values = tomllib.loads(file.read_text())
    except FileNotFoundError:
        raise UserError(f"profile {name!r}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not valid TOML: {error}") from None
    extended = values.get("extends", [])
    if not isinstance(extended, str) and not (
        isinstance(extended, list) and all(isinstance(other, str) for other in extended)
    ):
        raise UserError(f"{file}: extends = {extended!r}; allowed: a profile's name, or a list of names")
    for key, value in values.items():
        if key not in ("summary", "extends") and not isinstance(value, dict):
            raise UserError(f"{file}: {key} = {value!r} stands outside any section; only summary and extends may")
    return values


def parse_settings(settings: Iterable[str], stages: Iterable[str]) -> dict[str, dict[str, Any]]:
    """`--set STAGE.KEY=VALUE` as nested values by stage. VALUE is TOML; what is not valid TOML is taken as text."""
    known, parsed = list(stages), dict[str, dict[str, Any]]()
    for setting in settings:
        key, separator, text = setting.partition("=")
        stage, *path = key.strip().split(".")
        if not separator or not path:
            raise UserError(f"--set {setting!r}: expected STAGE.KEY=VALUE, such as --set {known[0]}.seed=2")
        if stage not in known:
            raise UserError(
                f"--set {setting!r}: no stage {stage!r}; there is {', '.join(known)}.{nearest(stage, known)}"
            )
        _put(parsed.setdefault(stage, {}), path, parse_value(text.strip()))
    return parsed


def parse_value(text: str) -> Any:
    """A TOML value; what is not valid TOML is text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _put(values: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
    values[path[-1]] = value


def merge(base: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `above` over it; tables are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in above.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value, for every leaf; an empty table is a leaf."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The tables that `flatten` makes of dotted keys, back again."""
    values: dict[str, Any] = {}
    for key, value in flat.items():
        _put(values, key.split("."), value)
    return values


def resolve_stage(
    profile: Profile | None, stage: Stage, keys: Iterable[str], settings: Mapping[str, Any], seed: int | None = None
) -> Resolved:
    """One stage's values. `keys` are the config's own top-level keys: `common` values are taken for those alone."""
    known, layers = set(keys), list[Layer]()
    if profile is not None:
        layers += [
            Layer(layer.origin, {key: value for key, value in layer.values.items() if key in known})
            for layer in profile.section("common")
        ]
        if stage.name != stage.plugin:
            layers += profile.section(stage.plugin)
        layers += profile.section(stage.name)
    if seed is not None and "seed" in known:
        layers.append(Layer("--seed", {"seed": seed}))
    layers.append(Layer("--set", dict(settings)))
    resolved = Resolved()
    for layer in layers:
        origins = resolved.origins | dict.fromkeys(flatten(layer.values), layer.origin)
        resolved = Resolved(merge(resolved.config, layer.values), origins)
    return resolved


def provenance(complete: Mapping[str, Any], origins: Mapping[str, str]) -> dict[str, str]:
    """The origin of every leaf of a complete config; what nobody set is "default"."""

    def origin(key: str) -> str:
        parts = key.split(".")
        candidates = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
        return next((origins[name] for name in candidates if name in origins), "default")

    return {key: origin(key) for key in flatten(complete)}


def check_sections(profile: Profile, stages: Iterable[Stage], keys_by_stage: Mapping[str, set[str]]) -> None:
    """Raises `UserError` for a section that no stage has, and for a `common` key that no stage's config has."""
    allowed = {stage.name for stage in stages} | {stage.plugin for stage in stages} | set(SPECIAL)
    every_key = set().union(*keys_by_stage.values()) if keys_by_stage else set()
    for layer in profile.layers:
        for section in layer.values:
            if section not in allowed:
                raise UserError(f"{layer.origin}: no stage is called [{section}].{nearest(section, allowed)}")
        for key in layer.values.get("common", {}):
            if key not in every_key:
                raise UserError(f"{layer.origin}: [common] {key}: no stage has this key.{nearest(key, every_key)}")


def replace_stage_links(config: dict[str, Any], runs: Mapping[str, str]) -> dict[str, Any]:
    """`config` with "stage:NAME" replaced by "run:ID" for the stages in `runs`; others stay."""

    def change(text: str) -> str:
        name = text.removeprefix(STAGE_PREFIX)
        return f"run:{runs[name]}" if text.startswith(STAGE_PREFIX) and name in runs else text

    changed: dict[str, Any] = map_strings(config, change)
    return changed
