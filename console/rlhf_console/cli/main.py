"""`rlhf`: the verbs, each a thin door to the headless core. Nothing heavy is imported before a verb is known."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from rlhf_console.cli.verbs import EPILOG, Verbs
from rlhf_console.printable import make_streams_printable, printable
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.files import PRIVATE_UMASK

app = typer.Typer(
    cls=Verbs,
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


def main() -> None:
    """Runs one command; a user's mistake is one line on stderr and exit code 2."""
    os.umask(PRIVATE_UMASK)
    make_streams_printable()
    try:
        app()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + 13)
    except Exception as error:
        from rlhf_sdk.trainer import UserError

        if not isinstance(error, UserError):
            raise
        print(f"rlhf: {printable(str(error))}", file=sys.stderr)
        sys.exit(ExitCode.USER_ERROR)
