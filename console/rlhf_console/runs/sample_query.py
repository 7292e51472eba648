"""Which samples somebody wants to see, and in what order."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from rlhf_console.runs.sample_scans import NO_TAG, Scan
from rlhf_console.runs.samples_file import SamplesFile
from rlhf_sdk.events import ASKED

TITLE_ORDER = "most copied title"
ORDERS = ("newest", "lowest score", "highest KL", "longest", "no EOS", TITLE_ORDER)
"""How they are sorted; "no EOS" leaves out those that ended."""

KL, LENGTH, SCORE = "kl/", "response_tokens", "score"


@dataclass(frozen=True)
class Query:
    """`tag`, `step`, `prompt` (as `Columns.prompts` has it), `words`: only samples of these; None or "": of any."""

    order: str = ORDERS[0]
    tag: str = ""
    step: int | None = None
    prompt: int | None = None
    words: str = ""

    @property
    def is_everything(self) -> bool:
        return self == Query(self.order)


def select(samples: SamplesFile, query: Query, resumed: dict[int, int]) -> list[int]:
    """The rows wanted, of those that have been looked at; `resumed` as in `RunSummary.resumed_samples`.

    Nothing but the newest first, of a run that was never resumed, needs no look at them.
    """
    if query == Query() and len(resumed) < 2:
        return [row for row in reversed(samples.rows) if row not in samples.columns.damaged]
    rows = [row for row in _looked_at(samples, query) if _is_wanted(samples, query, row)]
    rows = _not_superseded(samples, rows, resumed)
    return _sorted(samples, rows, query.order)


def _looked_at(samples: SamplesFile, query: Query) -> range:
    """Newest first."""
    scans: list[Scan] = [samples.columns]
    scans += [samples.found] if query.words and samples.found else []
    first, end = max(scan.first for scan in scans), min(scan.end for scan in scans)
    return range(end - 1, first - 1, -1)


def _is_wanted(samples: SamplesFile, query: Query, row: int) -> bool:
    columns = samples.columns
    return (
        columns.tags[row] != NO_TAG
        and (query.step is None or columns.steps[row] == query.step)
        and (query.prompt is None or columns.prompts[row] == query.prompt)
        and (not query.tag or columns.tags[row] == columns.tag_numbers.get(query.tag))
        and (query.order != "no EOS" or not columns.ended[row])
        and (not query.words or samples.found is None or samples.found.values[row] == 1.0)
    )


def _not_superseded(samples: SamplesFile, rows: list[int], resumed: dict[int, int]) -> list[int]:
    """Without what an earlier attempt wrote after the sample that a later one went on from."""
    if len(resumed) < 2:
        return rows
    columns = samples.columns
    asked = columns.tag_numbers.get(ASKED)
    kept = {
        attempt: min((seq for later, seq in resumed.items() if later > attempt), default=math.inf)
        for attempt in {int(columns.attempts[row]) for row in rows}
    }
    return [row for row in rows if columns.seqs[row] <= kept[int(columns.attempts[row])] or columns.tags[row] == asked]


def _sorted(samples: SamplesFile, rows: list[int], order: str) -> list[int]:
    """By the figure of `order`; those without it last, and those alike newest first."""
    found = _figure_of(samples, order)
    if found is None:
        return rows
    value, sign = found
    known = [(sign * figure, row) for row in rows if not math.isnan(figure := value(row))]
    known.sort(key=lambda pair: pair[0])
    found_rows = {row for _, row in known}
    return [row for _, row in known] + [row for row in rows if row not in found_rows]


def _figure_of(samples: SamplesFile, order: str) -> tuple[Callable[[int], float], float] | None:
    """The figure of a row, and 1 for the lowest first, -1 for the highest."""
    figures = samples.columns.figures
    if order == TITLE_ORDER:
        return None if samples.title_copies is None else (samples.title_copies.value, -1.0)
    name, sign = {
        "lowest score": (SCORE, 1.0),
        "highest KL": (next((name for name in figures if name.startswith(KL)), KL), -1.0),
        "longest": (LENGTH, -1.0),
    }.get(order, ("", 1.0))
    return (figures[name].__getitem__, sign) if name in figures else None


def steps_of(samples: SamplesFile, tag: str = "") -> list[int]:
    """The steps that have samples (of this tag, where one is given), ascending, of those looked at."""
    columns, wanted = samples.columns, samples.columns.tag_numbers.get(tag)
    rows = range(columns.first, columns.end)
    return sorted({int(columns.steps[row]) for row in rows if wanted in (None, columns.tags[row])})


def step_of_update(samples: SamplesFile, update: int) -> int | None:
    """The step of the samples that were written during `update`, or the nearest one that has some.

    A sample's step counts the updates that were finished: the rollout of update 1 is of step 0.
    """
    return min(steps_of(samples), key=lambda known: abs(known - (update - 1)), default=None)
