"""The labeller in plain lines: for pipes, and terminals that can't show the full screen."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import get_args

import typer

from rlhf_console.printable import printable
from rlhf_console.runs.labelling import Labelling, Task
from rlhf_sdk.preferences import Verdict

KEYS = "1 left, 2 right, 3 tie, 4 both bad, s skip, u undo, m TEXT note, q quit: "
VERDICTS: dict[str, Verdict] = {str(place): verdict for place, verdict in enumerate(get_args(Verdict), 1)}


def label_plainly(session: Labelling) -> None:
    """Shows a pair, reads a line, and so on, until nothing is left, or at q or the end of the input."""
    note, shown = "", None
    while session.task is not None:
        if session.task is not shown:
            shown = session.task
            typer.echo(_pair(session, shown))
        print(KEYS, end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        word, _, text = line.strip().partition(" ")
        if not line or word == "q":
            return
        if word == "m":
            note = text
        elif _obey(session, word, note):
            note = ""


def _obey(session: Labelling, word: str, note: str) -> bool:
    """Whether the note went with a vote."""
    if word in VERDICTS:
        return session.vote(VERDICTS[word], note) is not None
    if word == "s":
        session.skip()
    elif word == "u":
        print("taken back" if session.undo() else "nothing to take back", file=sys.stderr)
    else:
        print(f"{printable(word)!r} is none of the keys", file=sys.stderr)
    return False


def _pair(session: Labelling, task: Task) -> str:
    width = shutil.get_terminal_size(fallback=(100, 24)).columns
    texts = [("prompt", task.pair.prompt), *zip(("1 left", "2 right"), task.responses, strict=True)]
    parts = [f"{len(session.votes) + 1} of {session.total}"]
    parts += [f"{head}\n{_wrapped(text, width)}" for head, text in texts]
    return "\n" + "\n\n".join(parts)


def _wrapped(text: str, width: int) -> str:
    lines = printable(text, keep_newlines=True).split("\n")
    return "\n".join(textwrap.fill(line, width, initial_indent="  ", subsequent_indent="  ") for line in lines)
