"""From a row with anybody's column names to a record with ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rlhf_engine.config import ColumnConfig
from rlhf_engine.errors import DataError, nearest

USUAL = {
    "prompt": ("prompt", "query", "instruction", "question"),
    "subreddit": ("subreddit",),
    "title": ("title",),
    "post": ("post", "selftext", "content", "body", "document", "text", "abstract"),
    "summary": ("summary", "reference", "completion", "response", "highlights", "tldr", "label", "chosen", "summaries"),
    "chosen": ("chosen", "preferred"),
    "rejected": ("rejected", "dispreferred"),
    "text": ("text", "content", "body", "selftext", "post", "document"),
    "id": ("post_id", "id", "paper_id"),
}
LAST_TURN = "\n\nAssistant:"


def column_of(role: str, columns: ColumnConfig, present: Iterable[str]) -> str | None:
    """The column that plays `role`: the configured one, else the first usual name that is there.

    Raises DataError if the configured one is not there, listing what is.
    """
    there = list(present)
    configured: str = getattr(columns, role)
    if not configured:
        return next((name for name in USUAL[role] if name in there), None)
    if configured not in there:
        listed = ", ".join(there)
        raise DataError(
            f"data.columns.{role}: no column {configured!r}; there is {listed}.{nearest(configured, there)}"
        )
    return configured


def needs(columns: ColumnConfig, present: Iterable[str], roles: Iterable[str], what: str) -> None:
    """Raises DataError if a column for one of `roles` is missing."""
    there = list(present)
    missing = [role for role in roles if column_of(role, columns, there) is None]
    if missing:
        raise DataError(
            f"{what} need a column for {' and '.join(missing)}; there is {', '.join(there)}. "
            f"Name it with data.columns.{missing[0]} (usual names: {', '.join(USUAL[missing[0]])})"
        )


def unify(record: Mapping[str, Any], columns: ColumnConfig) -> dict[str, Any]:
    """The record with our names added: prompt parts, responses, id; its other fields stay as they are.

    A configured column counts also where the record has one of our own name.
    """
    found = _openai_comparison(record) or _choice_of_texts(record) or _split_transcripts(dict(record))
    names = {role: column_of(role, columns, found) for role in USUAL if role not in found or getattr(columns, role)}
    return _with_one_summary(found | {role: found[name] for role, name in names.items() if name is not None})


def _with_one_summary(record: dict[str, Any]) -> dict[str, Any]:
    """Of several references the first is the summary; all of them stay as `references`."""
    several = record.get("summary")
    return record | {"summary": several[0], "references": several} if isinstance(several, list) and several else record


def _openai_comparison(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """OpenAI's layout: `info` with the post, two `summaries`, and `choice` of one of them."""
    info, summaries, choice = (record.get(key) for key in ("info", "summaries", "choice"))
    if not (isinstance(info, Mapping) and isinstance(summaries, list) and choice in (0, 1) and len(summaries) == 2):
        return None
    texts = [summary["text"] for summary in summaries]
    sources = [summary.get("policy") or "" for summary in (summaries[choice], summaries[1 - choice])]
    named = {"sources": sources} if all(sources) else {}
    return {**info, "chosen": texts[choice], "rejected": texts[1 - choice], **named}


def _choice_of_texts(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Two texts as `summaries` and `choice` of one of them; their mean ratings, where there are any, in our order."""
    texts, choice = record.get("summaries"), record.get("choice")
    if not (isinstance(texts, list) and len(texts) == 2 and choice in (0, 1)):
        return None
    found = {**record, "chosen": texts[choice], "rejected": texts[1 - choice]}
    ratings = found.pop("axis_overall_mean", None)
    return found | {"ratings": [ratings[choice], ratings[1 - choice]]} if isinstance(ratings, list) else found


def _split_transcripts(record: dict[str, Any]) -> dict[str, Any]:
    """Whole dialogues as `chosen` and `rejected`, without a prompt: split at the assistant's last turn."""
    chosen, rejected = record.get("chosen"), record.get("rejected")
    if "prompt" in record or not (isinstance(chosen, str) and isinstance(rejected, str) and LAST_TURN in chosen):
        return record
    prompt, _, last = chosen.rpartition(LAST_TURN)
    return record | {"prompt": prompt + LAST_TURN, "chosen": last, "rejected": rejected.rpartition(LAST_TURN)[2]}
