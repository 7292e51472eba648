"""`rlhf`: the verbs, each a thin door to the headless core. Nothing heavy is imported before a verb is known."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from rlhf_console.cli import (
    attaching,
    catalogue,
    checking,
    comparing,
    control,
    exchanging,
    look,
    memory,
    planning,
    plugin,
    repeating,
    reporting,
    start,
    tagging,
)
from rlhf_console.printable import make_streams_printable, printable
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.files import PRIVATE_UMASK
from rlhf_sdk.trainer import UserError

EPILOG = (
    "Exit codes: 0 done; 2 your mistake (config, data, arguments); 3 the plugin failed; 4 diverged; 5 out of memory; "
    "75 checkpointed, run me again; 128+n ended by signal n."
)

app = typer.Typer(
    name="rlhf",
    help="Launch, watch and control RLHF training. Data on stdout, progress on stderr.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("rlhf-console"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


VERBS: dict[str, Callable[..., None]] = {
    **start.VERBS,
    **repeating.VERBS,
    **planning.VERBS,
    **checking.VERBS,
    **look.VERBS,
    **attaching.VERBS,
    **comparing.VERBS,
    **exchanging.VERBS,
    **memory.VERBS,
    **reporting.VERBS,
    **control.VERBS,
    **tagging.VERBS,
    **catalogue.VERBS,
}
for name, function in VERBS.items():
    app.command(name, epilog=EPILOG)(function)
app.add_typer(plugin.app, name="plugin", epilog=EPILOG)


def main() -> None:
    """Runs one command; a user's mistake is one line on stderr and exit code 2."""
    os.umask(PRIVATE_UMASK)
    make_streams_printable()
    try:
        app()
    except UserError as error:
        print(f"rlhf: {printable(str(error))}", file=sys.stderr)
        sys.exit(ExitCode.USER_ERROR)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + 13)
