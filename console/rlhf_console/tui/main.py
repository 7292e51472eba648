"""`rlhf-console`: the full screen, where the terminal can show it; plain lines elsewhere."""

from __future__ import annotations

import argparse
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from rlhf_console.printable import printable
from rlhf_console.terminal import is_capable_terminal
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.files import PRIVATE_UMASK
from rlhf_sdk.run_root import run_root
from rlhf_sdk.trainer import UserError


def main() -> None:
    """Opens the run list, or one run. A user's mistake is one line on stderr and exit code 2."""
    os.umask(PRIVATE_UMASK)
    try:
        sys.exit(_open(_parse()))
    except UserError as error:
        print(f"rlhf-console: {printable(str(error))}", file=sys.stderr)
        sys.exit(ExitCode.USER_ERROR)


def _open(options: argparse.Namespace) -> int:
    """The exit code."""
    root = run_root(options.runs)
    if options.serve is not None:
        from rlhf_console.tui.serving import serve

        serve(_without_serve(options, root), options.serve)
        return ExitCode.DONE
    chosen: str = _start_demo(root) if options.demo else options.run
    if not is_capable_terminal():
        _watch_plainly(root, chosen)
    from rlhf_console.runs.store import find
    from rlhf_console.settings import load_settings
    from rlhf_console.tui.app import ConsoleApp
    from rlhf_console.tui.terminal_guard import guarded_terminal

    opened = find(root, chosen) if chosen else None
    app = ConsoleApp(root, opened, load_settings(), readonly=options.readonly)
    with guarded_terminal():
        app.run()
    return app.return_code or 0


def _watch_plainly(root: Path, chosen: str) -> NoReturn:
    """Goes on as `rlhf watch --plain`, which ends with the run and has its exit code."""
    from rlhf_console.runs.attaching import run_to_attach

    run = chosen or run_to_attach(root).record.id
    print(f"no terminal that can show the full screen: `rlhf watch --plain {run}`", file=sys.stderr, flush=True)
    os.execv(sys.executable, [sys.executable, "-P", "-m", "rlhf_console", "watch", "--plain", run, "--runs", str(root)])


def _start_demo(root: Path) -> str:
    """The id of a demo pipeline that has just begun; it goes on when the console is closed."""
    from rlhf_console.runs.launching import start_demo

    print("starting the demo: SFT, reward model and PPO on a built-in task ...", file=sys.stderr, flush=True)
    return start_demo(root, sys.argv[1:]).id


def _without_serve(options: argparse.Namespace, root: Path) -> list[str]:
    """What each browser's console is called with."""
    chosen = [_start_demo(root)] if options.demo else [options.run] if options.run else []
    return [*chosen, "--runs", str(root), *(["--readonly"] if options.readonly else [])]


def _parse() -> argparse.Namespace:
    from rlhf_console.tui.serving import PORT

    parser = argparse.ArgumentParser(prog="rlhf-console", description="Watch RLHF runs, full screen.")
    parser.add_argument("run", nargs="?", default="", help="id, unique beginning, name, or latest; else the list")
    parser.add_argument("--runs", default="", help="folder that holds runs; else $RLHF_RUNS, else ./runs")
    parser.add_argument("--readonly", action="store_true", help="watch only: nothing can be asked of a run")
    parser.add_argument("--demo", action="store_true", help="start the demo pipeline, detached, and open it")
    parser.add_argument(
        "--serve",
        nargs="?",
        type=int,
        const=PORT,
        metavar="PORT",
        help=f"in a browser, on 127.0.0.1 alone (port {PORT}); needs textual-serve",
    )
    parser.add_argument("--version", action="version", version=version("rlhf-console"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
