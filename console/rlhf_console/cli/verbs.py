"""Every verb: what `rlhf --help` says of it, and where it is. A verb's module is imported when the verb is called."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

EPILOG = (
    "Exit codes: 0 done; 2 your mistake (config, data, arguments); 3 the plugin failed; 4 diverged; 5 out of memory; "
    "75 checkpointed, run me again; 128+n ended by signal n."
)


class Verb(NamedTuple):
    """`target` is "module:function", or "module:app" of a group; `summary` the first sentence of what it says."""

    target: str
    summary: str


VERBS = {
    "run": Verb("start:run", "Start a run and watch it."),
    "demo": Verb(
        "start:demo",
        "Train SFT, reward model and PPO on the built-in task in a few minutes, and show whether PPO is better.",
    ),
    "resume": Verb(
        "resuming:resume",
        "Go on with a run that is paused, was stopped or died, from its newest good checkpoint, and watch it.",
    ),
    "join": Verb(
        "joining:join",
        "Take part, from another machine, in a run that was started with --nnodes; its folder must be the same there.",
    ),
    "relaunch": Verb("repeating:relaunch", "Start a new run with the config of one that was, from the beginning."),
    "fork": Verb(
        "repeating:fork", "Start a new run that goes on from a checkpoint of another one; the other stays as it is."
    ),
    "iterate": Verb(
        "iterating:iterate",
        "Label the policy's own responses, refit the reward model, train on; round after round, as one pipeline.",
    ),
    "sweep": Verb(
        "sweeping:sweep",
        "Start a run for each point of a grid and each seed, and show means with intervals, and reward against KL.",
    ),
    "plan": Verb(
        "planning:plan", "Say how much memory a run needs, in which phase, whether it fits, and what would save some."
    ),
    "check": Verb(
        "checking:check", "Try what a run would do, in a minute: data, weights, one small update, memory, time."
    ),
    "ls": Verb("look:list_runs", "List runs, the newest last."),
    "show": Verb("look:show", "Show one run: state, lineage, metrics, phases, checks, checkpoints, results, config."),
    "watch": Verb("look:watch", "Watch a run until it ends."),
    "logs": Verb("look:logs", "What the run printed."),
    "samples": Verb(
        "sampled:samples",
        "What the policy wrote: to the probe's prompts, which are always the same, else whatever is newest, that last.",
    ),
    "attach": Verb(
        "attaching:attach", "Open the full screen on a run; without a capable terminal, watch it in plain lines."
    ),
    "compare": Verb(
        "comparing:compare", "Responses to the same prompts: policies of one evaluation, steps of one run, or runs."
    ),
    "label": Verb("labelling:label", "Say which of two responses is better: blind, one key a vote."),
    "export": Verb(
        "exchanging:export_run",
        "Write a run's metrics and samples, or the model of a checkpoint, for another tool.",
    ),
    "import": Verb(
        "exchanging:import_run",
        "Make a run of another trainer's logs: TRL's completions, verl's rollouts, TensorBoard's scalars.",
    ),
    "memory": Verb(
        "memory:memory", "Show a run's memory: by role, by phase beside the plan, its peak, and a forecast."
    ),
    "report": Verb(
        "reporting:report",
        "Write what a run or pipeline did, with what and with which result: one HTML file, and Markdown.",
    ),
    "pause": Verb(
        "control:pause", "Hold runs where they are, within a second; `rlhf resume` goes on to the same bits."
    ),
    "checkpoint": Verb("control:checkpoint", "Write a checkpoint now and go on."),
    "stop": Verb("control:stop", "Checkpoint and stop runs; `rlhf resume` goes on from there."),
    "set": Verb(
        "control:set_value",
        "Change live values from the next step on, such as kl_coef=0.02; checkpoints and resumes keep them.",
    ),
    "sample": Verb(
        "control:sample",
        "Show what the policy writes now: after the step that it is in, or at once where the run is paused.",
    ),
    "tag": Verb("tagging:tag", "Add or take away tags of a run, and print those that it has."),
    "plugins": Verb(
        "catalogue:plugins",
        "List installed plugins and launchers, and plugins that runs were made with and that are gone; a broken one "
        "with its cause.",
    ),
    "profiles": Verb("catalogue:profiles", "List profiles."),
    "config": Verb(
        "catalogue:config",
        "Every option of a plugin: type, default, constraint, help, and the paper that it comes from.",
    ),
    "doctor": Verb("catalogue:doctor", "Look at this machine: what works, and what to do about the rest."),
    "plugin": Verb("plugin:app", "Write a plugin of your own, and try whether it keeps the contract."),
}


class Verbs(TyperGroup):
    """The group of all verbs, with a stand-in for each that is not called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, verb in VERBS.items():
            self.add_command(TyperCommand(name, help=verb.summary))

    def get_params(self, ctx: Any) -> list[Any]:
        return [_taken_as_typed(parameter) for parameter in super().get_params(ctx)]

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Raises a usage error, with the nearest names, for a verb that there is none of."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load_verb(name) if name else command, rest


def load_verb(name: str) -> Any:
    """The click command, or group, called `name`."""
    module, _, attribute = VERBS[name].target.partition(":")
    found = getattr(importlib.import_module(f"rlhf_console.cli.{module}"), attribute)
    group = found if isinstance(found, typer.Typer) else _alone(found)
    command = typer.main.get_command(group)
    command.name, command.epilog = name, EPILOG
    return command


def _alone(function: Any) -> typer.Typer:
    group = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    group.command(cls=_Verb)(function)
    return group


class _Verb(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return [_taken_as_typed(parameter) for parameter in super().get_params(ctx)]


class _AsTyped:
    """What texts and flags need: no conversion."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        several = param.multiple or param.nargs == -1
        return list(value or ()) if several else value


def _taken_as_typed(parameter: Any) -> Any:
    """Typer imports pydantic to convert a text to a text: half of the time that `rlhf ls` takes.

    A typer that keeps its conversions elsewhere goes on as it does.
    """
    plain = getattr(getattr(parameter, "type_descriptor", None), "annotation", None) in (str, list[str], bool)
    if plain and getattr(parameter, "_runtime_param", False) is None:
        parameter._runtime_param = _AsTyped()
    return parameter
