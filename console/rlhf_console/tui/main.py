"""`rlhf-console`: the full screen, where the terminal can show it."""

from __future__ import annotations

import argparse
import os
import sys
from importlib.metadata import version

from rlhf_console.printable import printable
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.files import PRIVATE_UMASK
from rlhf_sdk.run_root import run_root
from rlhf_sdk.trainer import UserError


def main() -> None:
    """Opens the run list, or one run. Exit code 2 without a capable terminal."""
    os.umask(PRIVATE_UMASK)
    options = _parse()
    # Textual reads keys from stdin and draws on stderr.
    if not (sys.stdin.isatty() and sys.stderr.isatty()) or os.environ.get("TERM", "dumb") == "dumb":
        print("rlhf-console needs a terminal; `rlhf watch RUN` works anywhere", file=sys.stderr)
        sys.exit(ExitCode.USER_ERROR)
    from rlhf_console.runs.store import find
    from rlhf_console.settings import load_settings
    from rlhf_console.tui.app import ConsoleApp

    root = run_root(options.runs)
    try:
        opened = find(root, options.run) if options.run else None
        app = ConsoleApp(root, opened, load_settings(), readonly=options.readonly)
    except UserError as error:
        print(f"rlhf-console: {printable(str(error))}", file=sys.stderr)
        sys.exit(ExitCode.USER_ERROR)
    app.run()
    sys.exit(app.return_code or 0)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="rlhf-console", description="Watch RLHF runs, full screen.")
    parser.add_argument("run", nargs="?", default="", help="id, unique beginning, name, or latest; else the list")
    parser.add_argument("--runs", default="", help="folder that holds runs; else $RLHF_RUNS, else ./runs")
    parser.add_argument("--readonly", action="store_true", help="watch only: nothing can be asked of a run")
    parser.add_argument("--version", action="version", version=version("rlhf-console"))
    return parser.parse_args()
