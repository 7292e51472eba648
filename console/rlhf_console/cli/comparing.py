"""The verb that sets responses to the same prompts side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rlhf_console.cli.options import JsonOption, ManyRuns, RunsOption, print_json
from rlhf_console.printable import printable
from rlhf_console.render import example, number, table
from rlhf_console.runs.store import LiveRun, children_of, find
from rlhf_sdk.run_root import run_root
from rlhf_sdk.spelling import nearest
from rlhf_sdk.trainer import UserError

if TYPE_CHECKING:
    from rlhf_console.runs.pairs import Match, Side

Sort = Literal["gain", "loss", "prompt"]
ORDER: dict[Sort, str] = {"gain": "largest gain", "loss": "largest loss", "prompt": "prompt"}
WIDTH = 100


def compare(
    run: ManyRuns,
    runs: RunsOption = "",
    side: Annotated[
        list[str] | None,
        typer.Option("--side", help="Policy, tag or step to compare, by its name or an end of it; two or three."),
    ] = None,
    sort: Annotated[Sort, typer.Option("--sort", help="By gold or score, the last side's less the first's.")] = "gain",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many prompts.")] = 5,
    html: Annotated[Path | None, typer.Option("--html", help="Write all prompts into this file instead.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Responses to the same prompts: policies of one evaluation, steps of one run, or runs."""
    from rlhf_console.runs.pairs import labels_of, left_out, matches_of, measure_of

    sides = chosen_sides(run, run_root(runs), side or [])
    labels, matches = labels_of(sides), matches_of(sides, ORDER[sort])
    if not matches:
        raise UserError(f"{' and '.join(labels)} have no prompt in common")
    if html is not None:
        _write_page(html, sides, labels, matches)
        return
    others = dict(zip(labels, left_out(sides), strict=True))
    shown = [_plain(sides, labels, match) for match in matches[:limit]]
    if as_json:
        print_json(
            {
                "sides": labels,
                "prompts": len(matches),
                "means": _means(sides, labels, matches),
                "pairs": shown,
                "left_out": others,
            }
        )
        return
    means = _means(sides, labels, matches)
    names = list(dict.fromkeys(name for figures in means.values() for name in figures))
    typer.echo(table(["side", *names], [[label, *map(means[label].get, names)] for label in labels]))
    measure = measure_of(sides, matches)
    typer.echo(f"\n{_about(labels, len(matches), measure)}\n")
    for pair in shown:
        gain = "" if pair["gain"] is None else f"gain {number(pair['gain'])}"
        typer.echo(f"{gain}\n{example(_with_figures(pair, measure), width=WIDTH)}\n")
    for label, prompts in others.items():
        if prompts:
            typer.echo(_alone(label, prompts, limit))


def chosen_sides(names: Sequence[str], root: Path, wanted: Sequence[str]) -> Sequence[Side]:
    """Those that were asked for, else the best first choice. Raises `UserError` naming what there is."""
    from rlhf_console.runs.pairs import MOST_SIDES, good_first_choice

    found = [side for name in names for side in _sides_of(find(root, name), root)]
    if not wanted:
        chosen = good_first_choice(found)
        if len(chosen) < 2:
            raise UserError(f"{', '.join(names)}: no two sides with samples to compare")
        return chosen
    if not 2 <= len(wanted) <= MOST_SIDES:
        raise UserError(f"--side: {len(wanted)} given; allowed: two or three")
    return [_named(found, name) for name in wanted]


def _sides_of(run: LiveRun, root: Path) -> Sequence[Side]:
    """Of a pipeline those of its last stage that has samples."""
    from rlhf_console.runs.focus import OpenRun
    from rlhf_console.runs.pairs import sides_of

    found: Sequence[Side] = []
    for each in (run, *children_of(root, run.record.id)):
        opened = OpenRun(each.catch_up())
        opened.samples.read_all()
        found = sides_of(opened) or found
    return found


def _named(sides: Sequence[Side], name: str) -> Side:
    whole = [side for side in sides if name in (side.name, side.label)]
    alike = whole or [side for side in sides if side.label.endswith(name)]
    if len(alike) == 1:
        return alike[0]
    known = [side.label for side in sides]
    which = f"fits {len(alike)}" if alike else "there is none"
    raise UserError(f"--side {name!r}: {which}; there is {', '.join(known)}.{nearest(name, known)}")


def _plain(sides: Sequence[Side], labels: Sequence[str], match: Match) -> dict[str, Any]:
    """One prompt with everybody's response and figures."""
    samples = [side.sample(row) for side, row in zip(sides, match.rows, strict=True)]
    known = {label: sample for label, sample in zip(labels, samples, strict=True) if sample is not None}
    first = next(iter(known.values()), None)
    return {
        "prompt": first.prompt if first else "",
        "reference": first.reference if first else None,
        "gain": match.gain,
        "responses": {label: sample.response for label, sample in known.items()},
        "figures": {label: sample.metrics for label, sample in known.items()},
    }


def _with_figures(pair: dict[str, Any], measure: str) -> dict[str, Any]:
    """The pair with what gains are of beside each response's label."""
    named = {}
    for label, text in pair["responses"].items():
        value = pair["figures"][label].get(measure)
        named[label if value is None else f"{label} ({measure} {number(value)})"] = text
    return pair | {"responses": named}


def _about(labels: Sequence[str], prompts: int, measure: str) -> str:
    """How many prompts, and what a gain is."""
    count = f"{prompts} prompts that all of them answered"
    return printable(f"{count}; gain: {measure} of {labels[-1]} less that of {labels[0]}" if measure else count)


def _alone(label: str, prompts: Sequence[str], limit: int) -> str:
    """The prompts of one side that the others lack, each on a line."""
    lines = [
        f"  {shorten(printable(prompt, keep_newlines=True), WIDTH - 2, placeholder=' ...')}"
        for prompt in prompts[:limit]
    ]
    more = [f"  and {len(prompts) - limit} more: --json lists all"] if len(prompts) > limit else []
    return "\n".join([f"{len(prompts)} prompts of {printable(label)} that not all of them answered:", *lines, *more])


def _means(sides: Sequence[Side], labels: Sequence[str], matches: Sequence[Match]) -> dict[str, dict[str, float]]:
    from rlhf_console.runs.pairs import means_of

    found = zip(labels, means_of(sides, matches), strict=True)
    return {label: means.figures | {"EOS": means.ended} for label, means in found}


def _write_page(file: Path, sides: Sequence[Side], labels: Sequence[str], matches: Sequence[Match]) -> None:
    from rlhf_console.report.document import Block, Quotes, Report, Section, Table, Text
    from rlhf_console.report.html import html
    from rlhf_console.runs.pairs import left_out, measure_of

    means = _means(sides, labels, matches)
    names = list(dict.fromkeys(name for figures in means.values() for name in figures))
    blocks: list[Block] = [Table(["side", *names], [[label, *map(means[label].get, names)] for label in labels])]
    measure = measure_of(sides, matches)
    blocks.append(Text(_about(labels, len(matches), measure)))
    for label, prompts in zip(labels, left_out(sides), strict=True):
        if prompts:
            rows = [[prompt] for prompt in prompts]
            blocks.append(Table([f"{len(prompts)} prompts of {label} that not all of them answered"], rows))
    for match in matches:
        pair = _with_figures(_plain(sides, labels, match), measure)
        texts = [("prompt", pair["prompt"]), *([("reference", pair["reference"])] if pair["reference"] else [])]
        caption = "" if match.gain is None else f"gain {number(match.gain)}"
        blocks.append(Quotes(caption, [*texts, *pair["responses"].items()]))
    try:
        page = html(Report(" · ".join(labels), [Section("Side by side", blocks)]))
        file.write_text(page, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UserError(f"{file} can't be written: {error.strerror}") from error
    typer.echo(file)
