"""A config type in words: what each option is, what it may be, what it is by default."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect

_PLAIN = {inspect.BoolType: "true or false", inspect.NoneType: "null", inspect.AnyType: "anything"}
_COMPARISONS = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One key that can be set; `key` is dotted, `allowed` is in words, `source` names a paper where there is one.

    `choices`: all that it may be, where that is a few values; `live`: it may change while a run lives.
    """

    key: str
    allowed: str
    choices: list[Any] = []
    default: Any = None
    required: bool = False
    description: str = ""
    source: str = ""
    live: bool = False


def unwrapped(info: inspect.Type) -> inspect.Type:
    """The type without its annotations."""
    return unwrapped(info.type) if isinstance(info, inspect.Metadata) else info


def section_of(info: inspect.Type) -> inspect.StructType | None:
    """The section that a value of this type is (or may be, where it may also be null); None for other types."""
    plain = unwrapped(info)
    if isinstance(plain, inspect.UnionType):
        return next((found for member in plain.types if (found := section_of(member))), None)
    return plain if isinstance(plain, inspect.StructType) else None


def fields_of(info: inspect.Type) -> dict[str, inspect.Field]:
    """The keys of a section by name; empty for other types."""
    section = section_of(info)
    return {field.encode_name: field for field in section.fields} if section else {}


def allowed(info: inspect.Type) -> str:
    """What a value of this type may be, in words: "a number >= 0"."""
    plain = unwrapped(info)
    match plain:
        case inspect.LiteralType():
            return "one of " + ", ".join(str(value) or '""' for value in plain.values)
        case inspect.IntType() | inspect.FloatType():
            return _number(plain)
        case inspect.StrType():
            return "text"
        case inspect.StructType():
            return "a section with " + ", ".join(fields_of(plain))
        case inspect.ListType() | inspect.SetType() | inspect.VarTupleType():
            return f"a list, each {allowed(plain.item_type)}"
        case inspect.TupleType():
            return f"a list of {len(plain.item_types)}: " + "; ".join(allowed(item) for item in plain.item_types)
        case inspect.DictType():
            return f"a table of names, each {allowed(plain.value_type)}"
        case inspect.UnionType():
            return " or ".join(allowed(member) for member in plain.types)
    return _PLAIN.get(type(plain), type(plain).__name__)


def choices(info: inspect.Type) -> list[Any]:
    """All that a value of this type may be; empty where that can't be listed."""
    plain = unwrapped(info)
    match plain:
        case inspect.LiteralType():
            return list(plain.values)
        case inspect.BoolType():
            return [True, False]
        case inspect.NoneType():
            return [None]
        case inspect.UnionType():
            parts = [choices(member) for member in plain.types]
            return [value for part in parts for value in part] if all(parts) else []
    return []


def _number(info: inspect.IntType | inspect.FloatType) -> str:
    limits = [(sign, getattr(info, name)) for name, sign in _COMPARISONS if getattr(info, name) is not None]
    name = "a whole number" if isinstance(info, inspect.IntType) else "a number"
    return " ".join([name, " and ".join(f"{sign} {limit:g}" for sign, limit in limits)]).strip()


def default_of(field: inspect.Field) -> Any:
    """A field's default as plain data; None if it has none."""
    if field.default is not msgspec.NODEFAULT:
        return msgspec.to_builtins(field.default)
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.to_builtins(field.default_factory())
    return None


def options(kind: type, prefix: str = "") -> Iterator[Option]:
    """Every option of a config type, sections flattened, in the order of declaration."""
    defaults = {name: default_of(field) for name, field in fields_of(inspect.type_info(kind)).items()}
    yield from _options(inspect.type_info(kind), prefix, defaults)


def _options(info: inspect.Type, prefix: str, defaults: dict[str, Any]) -> Iterator[Option]:
    for name, field in fields_of(info).items():
        default = defaults.get(name, default_of(field))
        if section_of(field.type) is not None and isinstance(default, dict):
            yield from _options(field.type, f"{prefix}{name}.", default)
        else:
            yield _option(field, f"{prefix}{name}", default)


def _option(field: inspect.Field, key: str, default: Any) -> Option:
    notes = field.type if isinstance(field.type, inspect.Metadata) else None
    extra: dict[str, Any] = (notes and notes.extra) or {}
    return Option(
        key=key,
        allowed=allowed(field.type),
        choices=choices(field.type),
        default=default,
        required=field.required,
        description=((notes and notes.extra_json_schema) or {}).get("description", ""),
        source=extra.get("source", ""),
        live=extra.get("live", False),
    )
