"""The verb that shows what the policy wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import typer

from rlhf_console.cli.options import JsonOption, RunArgument, RunsOption, print_json
from rlhf_console.render import sample_text, trail_text
from rlhf_console.runs.store import LiveRun, children_of, find
from rlhf_sdk.events import PROBE_TAG, Sample
from rlhf_sdk.run_root import run_root

SHOWN = 8


@dataclass(frozen=True)
class Wanted:
    """Which samples of a run are asked for; `prompt`: by its index in its tag."""

    step: int | None
    tag: str
    prompt: int | None

    def matches(self, sample: Sample) -> bool:
        return (
            sample.tag.startswith(self.tag) and self.step in (None, sample.step) and self.prompt in (None, sample.index)
        )


def samples(
    run: RunArgument = "latest",
    runs: RunsOption = "",
    step: Annotated[int | None, typer.Option("--step", help="Samples of this step; else the newest.")] = None,
    prompt: Annotated[
        int | None, typer.Option("--prompt", min=0, help="The prompt of this number (#), from step to step.")
    ] = None,
    tag: Annotated[str, typer.Option("--tag", help="Samples whose tag starts so; else the probe's, if any.")] = "",
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="At most so many; 8, or every one of a --prompt.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What the policy wrote: to the probe's prompts, which are always the same, else whatever is newest, that last.

    A pipeline shows its last stage that has samples.
    """
    shown, wanted = find(run_root(runs), run), Wanted(step, tag, prompt)
    found: list[Sample] = []
    for candidate in (shown, *children_of(run_root(runs), shown.record.id)):
        found = _asked_for(candidate, wanted) or found
    found = _within(found, limit or (SHOWN if prompt is None else len(found)))
    if as_json:
        print_json([msgspec.to_builtins(sample) for sample in found])
        return
    if prompt is not None and len({sample.prompt for sample in found}) == 1:
        typer.echo(trail_text(found))
        return
    for sample in found:
        typer.echo(sample_text(sample) + "\n")


def _asked_for(run: LiveRun, wanted: Wanted) -> list[Sample]:
    """Those of the probe alone where no tag is asked for; what a later attempt made again is taken from there.

    Without a step or prompt the probe's newest.
    """
    matching = filter(wanted.matches, run.directory.samples())
    found = [*{(sample.step, sample.tag, sample.index, sample.prompt): sample for sample in matching}.values()]
    probed = [sample for sample in found if sample.tag == PROBE_TAG]
    if wanted.tag or not probed:
        return found
    newest = max(sample.step for sample in probed)
    return probed if wanted.prompt is not None else [sample for sample in probed if sample.step == newest]


def _within(found: Sequence[Sample], limit: int) -> list[Sample]:
    """The first prompts of the probe, so that they are the same ones each time; of others the newest samples."""
    probed = all(sample.tag == PROBE_TAG for sample in found)
    return [*found[:limit]] if probed else [*found[-limit:]]
