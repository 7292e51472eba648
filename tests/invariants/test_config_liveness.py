"""47: every key of every config changes the run, or is refused; and the optimizer receives what it is given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import datasets
import pytest
from msgspec import inspect

from config_bases import HUB, Workshop
from config_mutations import HOSTS, MUTATIONS, Try
from rlhf_engine.data.world import demonstrations
from rlhf_sdk.config_types import fields_of, unwrapped
from rlhf_sdk.discovery import installed_plugins, load_spec
from rlhf_sdk.exit_codes import ExitCode
from stand_in_claude import StandInClaude
from tiny_runs import Fingerprint, finished_run, with_values

UNKNOWN = "?"


@dataclass(frozen=True)
class Key:
    """One key of a config type: tried as `prefix` + `name` in a run of `plugin`."""

    plugin: str
    prefix: str
    kind: type
    name: str

    def __str__(self) -> str:
        return f"{self.plugin}-{self.prefix}{self.name}"


def struct_types(info: inspect.Type) -> Iterator[type]:
    """Every section type below `info`, itself first."""
    plain = unwrapped(info)
    if isinstance(plain, inspect.StructType):
        yield plain.cls
        for field in plain.fields:
            yield from struct_types(field.type)
    for part in getattr(plain, "types", [getattr(plain, "value_type", None), getattr(plain, "item_type", None)]):
        if part is not None:
            yield from struct_types(part)


def declaring_type(config: type, name: str) -> type:
    """The most general config type that has the key."""
    return next(base for base in reversed(config.__mro__) if name in vars(base).get("__annotations__", ()))


@cache
def all_keys() -> list[Key]:
    """The keys of each installed plugin's config, and once the keys of each section.

    Plugins of one trainer share the code that reads an inherited key: it is tried in the first of them.
    """
    keys, sections, tried = [], dict[type, None](), set[tuple[str, type, str]]()
    for plugin in sorted(installed_plugins()):
        spec = load_spec(plugin)
        for name in fields_of(inspect.type_info(spec.config)):
            place = (spec.trainer, declaring_type(spec.config, name), name)
            if place not in tried:
                tried.add(place)
                keys.append(Key(plugin, "", spec.config, name))
        sections |= dict.fromkeys(list(struct_types(inspect.type_info(spec.config)))[1:])
    for kind in sections:
        plugin, prefix = HOSTS.get(kind.__name__, (UNKNOWN, ""))
        keys += [Key(plugin, prefix, kind, name) for name in fields_of(inspect.type_info(kind))]
    return keys


def entry_of(key: Key) -> tuple[str, Any] | None:
    """The type whose entry it is, and the entry: a subclass may have one of its own."""
    found = [base.__name__ for base in key.kind.__mro__ if key.name in MUTATIONS.get(base.__name__, {})]
    return (found[0], MUTATIONS[found[0]][key.name]) if found else None


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    folder = tmp_path_factory.mktemp("workshop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setattr(datasets, "load_dataset", hub_rows)
        patch.setattr("rlhf_plugins.judges.service.make_client", StandInClaude)
        patch.setenv("RLHF_JUDGE_PROGRAMS", "allow")
        yield Workshop(folder)


def hub_rows(name: str, subset: str | None, split: str) -> datasets.Dataset:
    """Stands in for the hub: another split, other posts."""
    assert name == HUB
    return datasets.Dataset.from_list(list(demonstrations(8, seed=len(split))))


class Runs:
    """Runs in miniature; those that several keys are compared with are made once."""

    def __init__(self, shop: Workshop, folder: Path) -> None:
        self.shop, self.folder = shop, folder
        self.bases: dict[str, Fingerprint] = {}

    def base(self, plugin: str, given: dict[str, Any]) -> Fingerprint:
        key = f"{plugin} {sorted(given.items())}"
        if key not in self.bases:
            self.bases[key] = self.finished(plugin, given)
        return self.bases[key]

    def finished(self, plugin: str, values: dict[str, Any]) -> Fingerprint:
        config = with_values(self.shop.base(plugin), self.shop.filled(values))
        self.folder = self.folder.parent / str(int(self.folder.name) + 1)
        return finished_run(self.folder / plugin, plugin, config)


@pytest.fixture(scope="module")
def runs(shop: Workshop) -> Runs:
    return Runs(shop, shop.folder / "runs" / "0")


@pytest.mark.parametrize("plugin", sorted(installed_plugins()))
def test_47_equal_configs_make_equal_runs(plugin: str, runs: Runs) -> None:
    base = runs.base(plugin, {})
    assert base["exit code"] == ExitCode.DONE, base["events"][-3:]
    assert runs.finished(plugin, {}) == base


def test_47_every_key_has_an_entry() -> None:
    missing = [
        *(f"config_bases.Workshop._{plugin}" for plugin in installed_plugins() if not hasattr(Workshop, f"_{plugin}")),
        *(f"config_mutations.HOSTS: {key.kind.__name__}" for key in all_keys() if key.plugin == UNKNOWN),
        *(f"config_mutations.MUTATIONS: {key.kind.__name__}.{key.name}" for key in all_keys() if not entry_of(key)),
    ]
    assert not missing, (
        "add to tests/invariants a base for each of these plugins, a stage and prefix for each of these sections, and "
        "for each of these keys (at the type that declares it) another value, under which a run comes out differently:"
        "\n" + "\n".join(sorted(set(missing)))
    )


def test_47_every_entry_has_a_key() -> None:
    used = {(found[0], key.name) for key in all_keys() if (found := entry_of(key)) is not None}
    assert {(kind, name) for kind, names in MUTATIONS.items() for name in names} - used == set()


@pytest.mark.parametrize("key", [key for key in all_keys() if entry_of(key)], ids=str)
def test_47_every_key_changes_the_run_or_is_refused(key: Key, runs: Runs) -> None:
    found = entry_of(key)
    assert found is not None
    trial = found[1] if isinstance(found[1], Try) else Try(found[1])
    plugin, prefix = trial.host or (key.plugin, key.prefix)
    base = runs.base(plugin, trial.given)
    mutated = runs.finished(plugin, {**trial.given, prefix + key.name: trial.value})
    assert base["exit code"] == ExitCode.DONE, base["events"][-3:]
    assert mutated["exit code"] in (ExitCode.DONE, ExitCode.USER_ERROR, ExitCode.OUT_OF_MEMORY), mutated["events"][-3:]
    assert mutated != base, f"{plugin}: {prefix}{key.name} = {trial.value!r} changes nothing that a run shows"
