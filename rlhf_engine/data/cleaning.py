"""Mending text, and leaving out what is there twice or must not be there; every count is kept."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from rlhf_engine.config import CleaningConfig
from rlhf_engine.data.report import DataReport

TEXT_ROLES = ("prompt", "title", "post", "summary", "chosen", "rejected", "text")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2060\ufeff]")
_MANY_NEWLINES = re.compile(r"\n{3,}")


def clean_text(text: str, cleaning: CleaningConfig) -> str:
    """NFC without control characters; at most two newlines in a row, no blanks at the ends of lines or of the text."""
    if cleaning.unicode:
        text = _CONTROL.sub("", unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n")))
    if cleaning.whitespace:
        lines = "\n".join(line.rstrip() for line in text.split("\n"))
        text = _MANY_NEWLINES.sub("\n\n", lines).strip()
    return text


def clean_record(record: dict[str, Any], cleaning: CleaningConfig, report: DataReport) -> dict[str, Any]:
    """The record with mended texts. A dialogue's prompt keeps its outer newlines, which are part of the format."""
    cleaned = dict(record)
    for role in TEXT_ROLES:
        value = record.get(role)
        if isinstance(value, str) and not (role == "prompt" and value.startswith("\n\nHuman:")):
            cleaned[role] = clean_text(value, cleaning)
    if any(cleaned[role] != record[role] for role in TEXT_ROLES if role in record):
        report.counts["rows with mended text"] += 1
    return cleaned


def normalized_post(record: Mapping[str, Any]) -> str:
    """The post (or prompt) in lower case with single blanks, for finding the same post in another set."""
    text = record.get("post") or record.get("prompt") or record.get("text") or ""
    return " ".join(str(text).lower().split())


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=12).digest()


class Repetitions:
    """Remembers rows seen and posts to be left out, by digest: some bytes a row, whatever the texts' length."""

    def __init__(self, cleaning: CleaningConfig, excluded: Iterable[Mapping[str, Any]]) -> None:
        self._cleaning = cleaning
        self._excluded = {_digest(normalized_post(record)) for record in excluded} if cleaning.overlap else set()
        self._seen: set[bytes] = set()

    def leave_out(self, record: Mapping[str, Any], report: DataReport) -> bool:
        """Whether the row is a duplicate, or its post is excluded; counted."""
        if self._excluded and _digest(normalized_post(record)) in self._excluded:
            report.counts["posts seen elsewhere"] += 1
            return True
        if not self._cleaning.duplicates:
            return False
        row = _digest("\0".join(str(record.get(role, "")) for role in ("subreddit", *TEXT_ROLES)))
        if row in self._seen:
            report.counts["duplicates"] += 1
            return True
        self._seen.add(row)
        return False
