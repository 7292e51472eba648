"""What a report calls a run."""

from __future__ import annotations

from rlhf_console.runs.store import LiveRun


def name_of(run: LiveRun) -> str:
    """The stage that it is, else its plugin."""
    return run.record.stage or run.record.plugin
