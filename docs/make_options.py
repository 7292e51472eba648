"""Writes docs/options.md from the configs of the built-in plugins: `make docs`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

PLUGINS = ("pretrain", "sft", "rm", "ppo", "eval", "pipeline", "echo")
PAGE = Path(__file__).with_name("options.md")
INTRODUCTION = """# Options

Every key of every built-in plugin's config, with its default and what is allowed. This page is written by `make docs`
from the config types; `rlhf config PLUGIN` prints the same for any plugin, yours too. Set a key in a profile, or with
`--set`: `rlhf run ppo --profile demo --set kl_coef=0.02`; in a pipeline the first part is the stage:
`--set ppo.kl_coef=0.02`.

Sources: Ziegler et al. 2019 (arXiv:1909.08593), Stiennon et al. 2020 (arXiv:2009.01325), Huang et al. 2024
(arXiv:2403.17031).
"""
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def options_of(config: type, prefix: str = "", default: Any = inspect.NODEFAULT) -> Iterator[tuple[str, ...]]:
    """(key, type, default, allowed, help, source) of each field; nested configs come as dotted keys."""
    for field in inspect.type_info(config).fields:
        key, kind, notes = prefix + field.encode_name, field.type, {}
        value = _default_of(field, default)
        if isinstance(kind, inspect.Metadata):
            notes = (kind.extra_json_schema or {}) | (kind.extra or {})
            kind = kind.type
        nested = _nested_config(kind)
        if nested is not None and not isinstance(value, type(None)):
            yield from options_of(nested, f"{key}.", value)
        else:
            yield key, *_described(kind, notes), _shown(value), notes.get("description", ""), notes.get("source", "")


def _default_of(field: inspect.Field, parent: Any) -> Any:
    if isinstance(parent, msgspec.Struct):
        return getattr(parent, field.name)
    if field.default is not inspect.NODEFAULT:
        return field.default
    return field.default_factory() if field.default_factory is not inspect.NODEFAULT else inspect.NODEFAULT


def _nested_config(kind: inspect.Type) -> type | None:
    return kind.cls if isinstance(kind, inspect.StructType) else None


def _described(kind: inspect.Type, notes: dict[str, Any]) -> tuple[str, str]:
    """Type and what is allowed, in words."""
    if isinstance(kind, inspect.UnionType):
        names = [_described(_bare(member), {})[0] for member in kind.types]
        return " or ".join(names), ""
    if isinstance(kind, inspect.LiteralType):
        return "choice", ", ".join(f"`{value}`" for value in kind.values)
    if isinstance(kind, inspect.StructType):
        return f"section ({kind.cls.__name__})", "its keys as above"
    limits = [f"{sign} {limit:g}" for name, sign in BOUNDS.items() if (limit := getattr(kind, name, None)) is not None]
    return _type_name(kind), ", ".join(limits)


def _bare(kind: inspect.Type) -> inspect.Type:
    return kind.type if isinstance(kind, inspect.Metadata) else kind


def _type_name(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.ListType):
        return f"list of {_type_name(_bare(kind.item_type))}"
    if isinstance(kind, inspect.TupleType):
        return f"{len(kind.item_types)} x {_type_name(_bare(kind.item_types[0]))}"
    if isinstance(kind, inspect.DictType):
        return f"{_type_name(_bare(kind.key_type))} → {_type_name(_bare(kind.value_type))}"
    if isinstance(kind, inspect.StructType):
        return str(kind.cls.__name__)
    return {"StrType": "text", "IntType": "whole number", "FloatType": "number", "BoolType": "true or false"}.get(
        type(kind).__name__, type(kind).__name__.removesuffix("Type").lower()
    )


def _shown(value: Any) -> str:
    if value is inspect.NODEFAULT:
        return "needed"
    return f"`{msgspec.json.encode(value).decode()}`" if value not in ("", None) else "none"


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for name in PLUGINS:
        plugin = import_module(f"rlhf_plugins.{name}").plugin
        parts.append(f"## {name}\n\n{plugin.summary[0].upper()}{plugin.summary[1:]}.\n")
        rows = ["| key | type | default | allowed | what it does | source |", "| --- | --- | --- | --- | --- | --- |"]
        for key, kind, allowed, default, text, source in options_of(plugin.config):
            rows.append(f"| `{key}` | {kind} | {default} | {allowed} | {text.replace('|', '/')} | {source} |")
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
