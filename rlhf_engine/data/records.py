"""Rows of any source as cleaned records with our column names, and why some of them can't be used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from rlhf_engine.config import DataConfig
from rlhf_engine.data.cleaning import Repetitions, clean_record
from rlhf_engine.data.columns import needs, unify
from rlhf_engine.data.formatting import OF_POSTS
from rlhf_engine.data.report import DataReport
from rlhf_engine.data.sources import read_rows

Plain = dict[str, Any]
UNDECIDED = ("tie", "both_bad")
"""Verdicts of the console's votes that prefer neither response."""


def records(
    config: DataConfig, report: DataReport, roles: Sequence[str], what: str
) -> Iterator[tuple[str, int, Plain]]:
    """Cleaned records with our column names, as (file, row, record); at most `max_rows`.

    Raises DataError if a column for one of `roles` is missing.
    """
    repetitions = Repetitions(config.cleaning, _excluded(config))
    checked_files: set[str] = set()
    for row in read_rows(config):
        if config.max_rows and report.read >= config.max_rows:
            return
        report.read += 1
        if row.record is None:
            report.skip(row.file, row.number, row.problem, row.text)
            continue
        record = unify(row.record, config.columns)
        if row.file not in checked_files:
            checked_files.add(row.file)
            needs(config.columns, record, [*_prompt_roles(record, config, roles), *response_roles(roles)], what)
        record = clean_record(record, config.cleaning, report)
        if not repetitions.leave_out(record, report):
            yield row.file, row.number, record


def _excluded(config: DataConfig) -> Iterator[Mapping[str, Any]]:
    if not config.exclude or not config.cleaning.overlap:
        return
    other = msgspec.structs.replace(config, source=config.exclude, exclude=[], max_rows=0)
    for row in read_rows(other):
        if row.record is not None:
            yield clean_record(unify(row.record, config.columns), config.cleaning, DataReport())


def has_prompt(record: Plain, config: DataConfig) -> bool:
    """Whether a prompt can be made of the record's columns."""
    return all(role in record for role in _prompt_roles(record, config, ("prompt",)))


def _prompt_roles(record: Plain, config: DataConfig, roles: Sequence[str]) -> list[str]:
    if "prompt" not in roles:
        return []
    if config.template not in OF_POSTS or "prompt" in record:
        return ["prompt"]
    return ["subreddit", "title", "post"] if config.template == "tldr" else ["post"]


def response_roles(roles: Sequence[str]) -> list[str]:
    return [role for role in roles if role != "prompt"]


def is_undecided(record: Plain, roles: Sequence[str]) -> bool:
    """A vote that preferred neither response: nothing to learn from, and nothing wrong with it."""
    return "chosen" in roles and record.get("chosen") is None and record.get("verdict") in UNDECIDED


def problem_of(record: Plain, roles: Sequence[str]) -> tuple[str, Any] | None:
    """Why a record can't be used, with the value; None if it can."""
    for role in roles:
        value = record.get(role)
        if role != "prompt" and (not isinstance(value, str) or not value.strip()):
            return f"{role} is {'null' if value is None else 'empty' if isinstance(value, str) else 'no text'}", value
    if "prompt" in roles and not str(record.get("post") or record.get("prompt") or "").strip():
        return "post is empty", record.get("title", "")
    if "chosen" in roles and record["chosen"].strip() == record["rejected"].strip():
        return "chosen = rejected", record["chosen"]
    return None
