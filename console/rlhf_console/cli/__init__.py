"""The headless command line. stdout is data, stderr is narration; exit codes as in `rlhf_sdk.exit_codes`."""

from rlhf_console.cli.main import main

__all__ = ["main"]
