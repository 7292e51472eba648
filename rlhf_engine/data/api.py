"""Sources to examples: read, mend, check, cut, tokenise; what can't be used is counted and listed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from transformers import PreTrainedTokenizerBase

from rlhf_engine.config import DataConfig
from rlhf_engine.data.arrow_table import ArrowTable
from rlhf_engine.data.cache import cache_key, cached, default_cache
from rlhf_engine.data.examples import ComparisonGroup, Demonstration, Prompt
from rlhf_engine.data.formatting import encode, fit_prompt, format_prompt, response_tokens
from rlhf_engine.data.records import Plain, has_prompt, is_undecided, problem_of, records, response_roles
from rlhf_engine.data.report import DataReport
from rlhf_engine.hooks import Hooks

Example = TypeVar("Example")
REPORT_EVERY = 1000


class Examples(Sequence[Example], Generic[Example]):
    """Examples made on access from a table on disk (or a list), with the report of how they came to be."""

    def __init__(self, table: Any, make: Callable[[Plain], Example], report: DataReport) -> None:
        self._table, self._make, self.report = table, make, report

    def __len__(self) -> int:
        return len(self._table)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._make(self._table[index])


def _prompt_of(
    record: Plain, config: DataConfig, tokenizer: PreTrainedTokenizerBase, report: DataReport
) -> Plain | None:
    text, tokens = fit_prompt(record, config.template, tokenizer, config.max_prompt_tokens)
    if tokens and text != format_prompt(record, config.template):
        report.counts["prompts cut"] += 1
    reference = record.get("summary")
    return {"id": str(record.get("id", "")), "text": text, "tokens": tokens, "reference": reference} if tokens else None


def _tokens_of(text: str, config: DataConfig, tokenizer: PreTrainedTokenizerBase, report: DataReport) -> list[int]:
    tokens = response_tokens(text, tokenizer, config.max_response_tokens)
    if tokens[-1] != tokenizer.eos_token_id:
        report.counts["responses cut"] += 1
    return tokens


def _build(
    config: DataConfig,
    tokenizer: PreTrainedTokenizerBase,
    hooks: Hooks,
    roles: Sequence[str],
    what: str,
    report: DataReport,
) -> Iterator[Plain]:
    """Plain examples: prompt, the record as JSON, and tokens for each response role."""
    for file, number, record in records(config, report, roles, what):
        if report.read % REPORT_EVERY == 0:
            hooks.progress(what, report.read)
            hooks.safe_point()
        if is_undecided(record, roles):
            report.counts["comparisons undecided"] += 1
            continue
        problem = problem_of(record, roles)
        if problem is not None:
            report.skip(file, number, *problem, record.get("id", ""))
            continue
        prompt = _prompt_of(record, config, tokenizer, report)
        if prompt is None:
            problem = "nothing is left of the post after truncation", record.get("title", "")
            report.skip(file, number, *problem, record.get("id", ""))
            continue
        responses = [record[role] for role in response_roles(roles)]
        report.kept += 1
        tokens = [_tokens_of(text, config, tokenizer, report) for text in responses]
        yield {**prompt, "record": json.dumps(record, default=str), "responses": responses, "response_tokens": tokens}


def _load(
    kind: str,
    config: DataConfig,
    tokenizer: PreTrainedTokenizerBase,
    cache_dir: Path | None,
    build: Callable[[DataReport], Iterable[Plain]],
    **details: Any,
) -> tuple[Any, DataReport]:
    """A memory-mapped table of plain examples and its report, from the cache or built into it."""

    def write(path: Path) -> DataReport:
        from datasets.arrow_writer import ArrowWriter

        report = DataReport()
        with ArrowWriter(path=str(path)) as writer:
            for plain in build(report):
                writer.write(plain)
            report.check(config.max_bad_share)
            writer.finalize()
        return report

    folder = (cache_dir or default_cache()) / f"{kind}-{cache_key(kind, config, tokenizer, **details)}"
    path, report = cached(folder, write)
    # What is cached may have been built under a larger limit.
    report.check(config.max_bad_share)
    return ArrowTable(path), report


def _make_prompt(plain: Plain) -> Prompt:
    return Prompt(plain["id"], plain["text"], plain["tokens"], plain["reference"], json.loads(plain["record"]))


def load_prompts(
    config: DataConfig, tokenizer: PreTrainedTokenizerBase, *, hooks: Hooks, cache_dir: Path | None = None
) -> Examples[Prompt]:
    """Prompts, with the reference where there is a summary. Raises DataError if the data can't be used."""
    build = partial(_build, config, tokenizer, hooks, ("prompt",), "prompts")
    table, report = _load("prompts", config, tokenizer, cache_dir, build)
    return Examples(table, _make_prompt, report)


def load_demonstrations(
    config: DataConfig, tokenizer: PreTrainedTokenizerBase, *, hooks: Hooks, cache_dir: Path | None = None
) -> Examples[Demonstration]:
    """Prompts with the response to learn. Raises DataError if the data can't be used."""
    build = partial(_build, config, tokenizer, hooks, ("prompt", "summary"), "demonstrations")
    table, report = _load("demonstrations", config, tokenizer, cache_dir, build)

    def make(plain: Plain) -> Demonstration:
        return Demonstration(_make_prompt(plain), plain["responses"][0], plain["response_tokens"][0])

    return Examples(table, make, report)


def load_comparisons(
    config: DataConfig,
    tokenizer: PreTrainedTokenizerBase,
    *,
    hooks: Hooks,
    group_by_prompt: bool = False,
    cache_dir: Path | None = None,
) -> Examples[ComparisonGroup]:
    """Pairs as groups of two; with `group_by_prompt`, all pairs on one post as one group of its different responses."""

    def build(report: DataReport) -> Iterable[Plain]:
        pairs = _build(config, tokenizer, hooks, ("prompt", "chosen", "rejected"), "comparisons", report)
        plain = ({**pair, "pairs": [[0, 1]]} for pair in pairs)
        return _grouped(plain) if group_by_prompt else plain

    table, report = _load("comparisons", config, tokenizer, cache_dir, build, group_by_prompt=group_by_prompt)
    return Examples(table, _make_group, report)


def _make_group(plain: Plain) -> ComparisonGroup:
    pairs = [(chosen, rejected) for chosen, rejected in plain["pairs"]]
    return ComparisonGroup(_make_prompt(plain), plain["responses"], plain["response_tokens"], pairs)


def _grouped(pairs: Iterable[Plain]) -> Iterable[Plain]:
    groups: dict[str, Plain] = {}
    for pair in pairs:
        group = groups.setdefault(pair["text"], {**pair, "responses": [], "response_tokens": [], "pairs": []})
        for text, tokens in zip(pair["responses"], pair["response_tokens"], strict=True):
            if text not in group["responses"]:
                group["responses"].append(text)
                group["response_tokens"].append(tokens)
        group["pairs"].append([group["responses"].index(text) for text in pair["responses"]])
    return groups.values()


def comparison_groups_from_records(
    groups: Iterable[Plain], config: DataConfig, tokenizer: PreTrainedTokenizerBase
) -> Examples[ComparisonGroup]:
    """Groups that are already labelled: records with `responses` and `pairs` of indices (chosen, rejected)."""
    report, made = DataReport(), list[Plain]()
    for record in groups:
        report.read += 1
        prompt = _prompt_of(record, config, tokenizer, report)
        if prompt is None or not record["pairs"]:
            report.skip("groups", report.read, "no post or no pair of different responses", record.get("title", ""))
            continue
        report.kept += 1
        tokens = [_tokens_of(text, config, tokenizer, report) for text in record["responses"]]
        parts = {"responses": record["responses"], "response_tokens": tokens, "pairs": record["pairs"]}
        made.append({**prompt, **parts, "record": json.dumps(record)})
    report.check(config.max_bad_share)
    return Examples(made, _make_group, report)


def load_documents(
    config: DataConfig,
    tokenizer: PreTrainedTokenizerBase,
    sequence_tokens: int,
    *,
    hooks: Hooks,
    cache_dir: Path | None = None,
) -> Examples[list[int]]:
    """Documents joined by EOS and cut into sequences of `sequence_tokens`; the last, shorter one is dropped."""

    def build(report: DataReport) -> Iterator[Plain]:
        waiting: list[int] = []
        for text in _documents(config, report):
            if report.read % REPORT_EVERY == 0:
                hooks.progress("documents", report.read)
                hooks.safe_point()
            waiting += [*encode(tokenizer, text), tokenizer.eos_token_id]
            while len(waiting) >= sequence_tokens:
                yield {"tokens": waiting[:sequence_tokens]}
                waiting = waiting[sequence_tokens:]

    table, report = _load("documents", config, tokenizer, cache_dir, build, sequence_tokens=sequence_tokens)
    return Examples(table, _tokens_alone, report)


def _tokens_alone(plain: Plain) -> list[int]:
    tokens: list[int] = plain["tokens"]
    return tokens


def _documents(config: DataConfig, report: DataReport) -> Iterator[str]:
    for file, number, record in records(config, report, ("text",), "documents"):
        problem = problem_of(record, ("text",))
        if problem is not None:
            report.skip(file, number, *problem, record.get("id", ""))
            continue
        report.kept += 1
        title = record.get("title")
        yield f"TITLE: {title}\n\nPOST: {record['text']}" if title else record["text"]


def raw_texts(config: DataConfig, hooks: Hooks) -> Iterator[str]:
    """The data's words, for training a tokenizer."""
    report = DataReport()
    for _, _, record in records(config, report, (), "texts"):
        if report.read % REPORT_EVERY == 0:
            hooks.progress("tokenizer", report.read)
        if not has_prompt(record, config):
            yield str(record.get("text", ""))
            continue
        responses = [record[role] for role in ("summary", "chosen", "rejected") if isinstance(record.get(role), str)]
        yield " ".join([format_prompt(record, config.template), *dict.fromkeys(responses)])
