"""The verb by which people vote on pairs of responses: label."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from rlhf_console.cli.label_plainly import label_plainly
from rlhf_console.cli.options import JsonOption, RunsOption, print_json
from rlhf_console.printable import printable
from rlhf_console.render import table
from rlhf_console.runs.agreement import Figure
from rlhf_console.runs.label_pairs import Choice, Pair, chosen_pairs, pairs_of_file, pairs_of_run
from rlhf_console.runs.labelling import Plan, open_session
from rlhf_console.runs.store import find
from rlhf_console.runs.vote_summary import plain_summary, tables_of
from rlhf_console.runs.votes import labeller_name
from rlhf_console.terminal import is_capable_terminal
from rlhf_sdk.preferences import PreferenceStore, Vote
from rlhf_sdk.run_root import run_root
from rlhf_sdk.trainer import RunFailure, UserError

if TYPE_CHECKING:
    from rlhf_console.runs.pairs import Side


def label(
    run: Annotated[
        list[str] | None, typer.Argument(metavar="RUN", help="Ids, unique beginnings, names, or latest.")
    ] = None,
    side: Annotated[
        list[str] | None,
        typer.Option("--side", help="Policy, tag or step, by its name or an end of it; two or three, as for compare."),
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option("--pairs", help="JSON lines with prompt and responses (two), or chosen and rejected.")
    ] = None,
    choose: Annotated[
        Choice,
        typer.Option("--choose", help="near_ties: smallest difference in score; disagreement: of the heads of --rm."),
    ] = "random",
    rm: Annotated[str, typer.Option("--rm", metavar="RUN", help="Reward model that scores the responses anew.")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="At most so many pairs; 0: all.")] = 0,
    repeats: Annotated[
        float, typer.Option("--repeats", min=0.0, max=0.5, help="Share of votes on pairs that come a second time.")
    ] = 0.1,
    labeller: Annotated[str, typer.Option("--labeller", help="Your name; else $RLHF_LABELLER, else the login.")] = "",
    seed: Annotated[int, typer.Option("--seed", help="Of the random order, and of what is repeated.")] = 0,
    runs: RunsOption = "",
    summary: Annotated[bool, typer.Option("--summary", help="Only print what all votes say.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of the full screen.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say which of two responses is better: blind, one key a vote. `rlhf run rm --data preferences` learns from it.

    Goes on where you stopped; nothing is lost at a kill.
    """
    root = run_root(runs)
    if summary:
        _print_summary(_votes(root), rm, root, as_json=as_json)
        return
    found = _pairs(run or [], side or [], pairs, root)
    if rm:
        found = _scored(found, rm, root)
    chosen = chosen_pairs(found, choose, limit=limit, seed=seed)
    plan = Plan(root=str(root), labeller=labeller_name(labeller), pairs=chosen, repeat_share=repeats, seed=seed)
    try:
        votes = _vote(plan, plain=plain)
    except OSError as error:
        raise UserError(f"{PreferenceStore(root).file}: {error.strerror}") from None
    _print_summary(votes, "", root, as_json=as_json)


def _vote(plan: Plan, *, plain: bool) -> list[Vote]:
    """Everybody's votes on the pairs, afterwards."""
    session = open_session(plan)
    if session.task is None:
        print(f"{session.labeller} has voted on all {len(plan.pairs)} pairs", file=sys.stderr)
    elif plain or not is_capable_terminal():
        label_plainly(session)
    else:
        _label_full_screen(plan)
    keys = {pair.key for pair in plan.pairs}
    return [vote for vote in session.store.refresh() if vote.pair in keys]


def _label_full_screen(plan: Plan) -> None:
    """The full screen knows nothing of this command line, nor this of it: a process of its own."""
    with NamedTemporaryFile(suffix=".json") as file:
        file.write(msgspec.json.encode(plan))
        file.flush()
        code = subprocess.call([sys.executable, "-P", "-m", "rlhf_console.tui.labelling", file.name])
    if code:
        raise typer.Exit(code if code > 0 else 128 - code)


def _pairs(runs: Sequence[str], wanted: Sequence[str], file: Path | None, root: Path) -> list[Pair]:
    """Those to vote on. Raises `UserError` where there are none."""
    if bool(runs) == (file is not None):
        raise UserError("label: name one or more runs, or a file by --pairs")
    if file is not None:
        found, where = pairs_of_file(file), str(file)
    else:
        found, where = (
            pairs_of_run(find(root, runs[0]).directory.data) or _of_sides(runs, wanted, root),
            ", ".join(runs),
        )
    if not found:
        raise UserError(f"{where}: no pair of different responses to one prompt")
    return found


def _of_sides(runs: Sequence[str], wanted: Sequence[str], root: Path) -> list[Pair]:
    from rlhf_console.cli.comparing import chosen_sides
    from rlhf_console.runs.label_pairs import pairs_of_sides

    sides: Sequence[Side] = chosen_sides(runs, root, wanted)
    print(f"pairs of {' and '.join(side.label for side in sides)}", file=sys.stderr)
    return pairs_of_sides(sides)


def _scored(pairs: Sequence[Pair], run: str, root: Path) -> list[Pair]:
    from rlhf_console.scoring import scored_pairs

    print(f"scoring {2 * len(pairs)} responses by {run} ...", file=sys.stderr, flush=True)
    with _breakage_said():
        return scored_pairs(pairs, find(root, run).record.id, root)


@contextmanager
def _breakage_said() -> Iterator[None]:
    """A plugin that breaks is said in one line, with its exit code."""
    try:
        yield
    except RunFailure as failure:
        print(f"rlhf: {printable(str(failure))}", file=sys.stderr)
        raise typer.Exit(failure.exit_code) from None


def _votes(root: Path) -> list[Vote]:
    store = PreferenceStore(root)
    try:
        votes = store.refresh()
    except OSError as error:
        raise UserError(f"{store.file}: {error.strerror}") from None
    if store.damaged:
        print(f"{store.file}: {store.damaged} lines can't be read and are left out", file=sys.stderr)
    return votes


def _print_summary(votes: Sequence[Vote], rm: str, root: Path, *, as_json: bool) -> None:
    scored: dict[str, Figure] = {}
    if rm and votes:
        from rlhf_console.scoring import figure_of_run

        name = find(root, rm).record.id
        with _breakage_said():
            scored[name] = figure_of_run(votes, name, root)
    if as_json:
        print_json(plain_summary(votes, scored))
    elif not votes:
        print("no votes yet", file=sys.stderr)
    else:
        typer.echo("\n\n".join(f"{title}\n{table(columns, rows)}" for title, columns, rows in tables_of(votes, scored)))
