"""`rlhf iterate`: people in the loop, round after round."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rlhf_console.cli.config_options import (
    DetachOption,
    DryRunOption,
    FromOption,
    NameOption,
    ProfileOption,
    StrictOption,
)
from rlhf_console.cli.options import (
    CheckpointEveryOption,
    JsonOption,
    MaxTimeOption,
    NotifyOption,
    RunsOption,
    notify_at,
)
from rlhf_console.cli.start import print_dry_run, start_request, watch_or_announce
from rlhf_console.durations import attempt_options
from rlhf_console.iterating import finished_stages, iterate_request
from rlhf_console.runs.store import find
from rlhf_sdk.run_root import run_root


def iterate(
    profile: ProfileOption,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Rounds of sample, label, refit, train.")] = 2,
    pairs: Annotated[int | None, typer.Option("--pairs", min=1, help="Pairs to label in a round.")] = None,
    labeller: Annotated[
        str, typer.Option("--labeller", help="people (waits for `rlhf label`), judge, or annotators (built-in world).")
    ] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="STAGE.KEY=VALUE: ppo.kl_coef=0.02 for all rounds, ppo_2.kl_coef for one; repeatable."
        ),
    ] = None,
    from_runs: FromOption = None,
    after: Annotated[
        str,
        typer.Option("--after", help="An earlier `rlhf iterate`, whose finished stages are used."),
    ] = "",
    name: NameOption = "iterate",
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of every stage; 1 more a round.")] = None,
    runs: RunsOption = "",
    strict: StrictOption = False,
    notify: NotifyOption = "",
    max_time: MaxTimeOption = "",
    checkpoint_every: CheckpointEveryOption = "",
    detach: DetachOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Label the policy's own responses, refit the reward model, train on; round after round, as one pipeline."""
    root = run_root(runs)
    notify_at(notify)
    options = attempt_options(max_time, checkpoint_every)
    asked: dict[str, Any] = {"pairs": pairs, "prompts": 2 * pairs} if pairs else {}
    if labeller:
        asked["labeller"] = labeller
    reused = finished_stages(root, find(root, after).record.id) if after else []
    request = iterate_request(profile, rounds, asked, settings or [], [*reused, *(from_runs or [])], seed, root)
    if dry_run:
        print_dry_run(request, root, as_json=as_json)
        return
    started = start_request(request, runs, name, strict=strict, options=options)
    watch_or_announce(runs, started, detach=detach, as_json=as_json)
