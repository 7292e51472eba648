"""Rounds of sample, label, refit, train: a profile's pipeline whose policy is trained once a round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlhf_console.profiles import (
    PIPELINE,
    Layer,
    Profile,
    Stage,
    flatten,
    load_profile,
    merge,
    nested,
    parse_settings,
    resolve_stage,
)
from rlhf_console.requests import RunRequest, config_keys, request_of
from rlhf_console.runs.store import children_of
from rlhf_sdk.references import STAGE_PREFIX
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError

PPO = "ppo"
ONLINE = (PPO, "rloo", "grpo")
PAIRS, RM, EVAL, WORLD = "pairs", "rm", "eval", "world"
ORIGIN = "rlhf iterate"
AS_TRAINED = ("data", "tokenizer", "response_tokens", "temperature", "precision", "device", "threads")
"""What pairs are sampled with as in training, unless the profile's [pairs] says otherwise."""

Values = dict[str, Any]


@dataclass(frozen=True)
class Start:
    """What the rounds are made of.

    `before` and `after` are the stages around them, `online` the one that every round repeats, `reward_model` the one
    that makes the first reward model, or would. `configs`: of all these stages, what the profile says.
    """

    before: Sequence[Stage]
    online: Stage
    after: Sequence[Stage]
    reward_model: Stage
    configs: Mapping[str, Values]

    @property
    def policy_path(self) -> str:
        """Where the first round starts, and the reference of all."""
        return str(self.configs[self.online.name].get("model", {}).get("path", ""))

    @property
    def reward_path(self) -> str:
        """The first reward model; empty where the first round's labels will make it."""
        path = str(self.configs[self.online.name].get("reward_model", {}).get("path", ""))
        made = {STAGE_PREFIX + stage.name for stage in self.before}
        return path if path in made or not path.startswith(STAGE_PREFIX) else ""

    @property
    def rm_config(self) -> Values:
        return self.configs[self.reward_model.name]


def iterate_request(
    profile_name: str,
    rounds: int,
    asked: Values,
    settings: Sequence[str],
    from_runs: Sequence[str],
    seed: int | None,
    root: Path,
) -> RunRequest:
    """A pipeline of so many rounds, resolved and validated; as `in_rounds`. Raises `UserError`."""
    profile, for_one = in_rounds(load_profile(profile_name), rounds, asked, settings, seed)
    return request_of(PIPELINE, profile, for_one, from_runs, None, root)


def in_rounds(
    profile: Profile, rounds: int, asked: Values, settings: Sequence[str], seed: int | None
) -> tuple[Profile, list[str]]:
    """The profile with its rounds as stages, and the settings that are left to apply.

    `asked` holds for the pairs of every round. A setting of a stage that rounds repeat (`ppo.kl_coef=0.05`) holds for
    all of them, the first reward model included; `ppo_2.kl_coef=0.05` for one. Raises `UserError`.
    """
    online = _online_stage(profile)
    repeated = {PAIRS, RM, online.name}
    for_all = [setting for setting in settings if setting.partition(".")[0] in repeated]
    given = [Layer(ORIGIN, {PAIRS: asked}), Layer("--set", parse_settings(for_all, repeated))]
    profile = Profile(profile.name, profile.summary, [*profile.layers, *given])
    start = _start(profile, online)
    _check(start, rounds)
    like_training = {key: value for key, value in start.configs[online.name].items() if key in AS_TRAINED}
    made = Layer(ORIGIN, sections_of(start, rounds, seed))
    layers = [Layer(ORIGIN, {PAIRS: like_training}), *profile.layers, made]
    for_one = [setting for setting in settings if setting not in for_all]
    return Profile(profile.name, profile.summary, layers), for_one


def finished_stages(root: Path, run_id: str) -> list[str]:
    """`STAGE=RUN` for each stage that a pipeline has finished."""
    children = children_of(root, run_id)
    return [f"{run.record.stage}={run.record.id}" for run in children if run.directory.state() is State.FINISHED]


def _online_stage(profile: Profile) -> Stage:
    """The last one that trains a policy on its own samples. Raises `UserError` where there is none."""
    online = [stage for stage in profile.stages if stage.plugin in ONLINE]
    if not online:
        raise UserError(f"profile {profile.name!r} has no {', '.join(ONLINE[:-1])} or {ONLINE[-1]} stage to repeat")
    return online[-1]


def _start(profile: Profile, online: Stage) -> Start:
    stages = profile.stages
    place = stages.index(online)
    before = [stage for stage in stages[:place] if stage.plugin not in ONLINE]
    made_by_rm = [stage for stage in before if stage.plugin == RM]
    reward_model = made_by_rm[-1] if made_by_rm else Stage(RM, RM)
    configs = {stage.name: _config(profile, stage) for stage in (*stages, reward_model)}
    return Start(before, online, stages[place + 1 :], reward_model, configs)


def _config(profile: Profile, stage: Stage) -> Values:
    return resolve_stage(profile, stage, config_keys(stage.plugin), {}).config


def _check(start: Start, rounds: int) -> None:
    if not start.policy_path:
        raise UserError(f"[{start.online.name}] model.path: rounds start from an SFT policy; name it, or its stage")
    if rounds > 1 and start.configs[start.online.name].get("layout") == "adapters":
        raise UserError(
            f'[{start.online.name}] layout = "adapters": the reference is the backbone under the policy, so that no '
            "second round can go on from the first one's policy; use another layout"
        )
    if start.rm_config.get("lora") is not None:
        raise UserError(f"[{start.reward_model.name}] lora: adapters are not trained further; train all weights")


def sections_of(start: Start, rounds: int, seed: int | None) -> dict[str, Values]:
    """The sections of a profile that make the rounds, the list of stages included."""
    sections: dict[str, Values] = {}
    stages = list(start.before)
    for number in range(1, rounds + 1):
        made = _round(start, number, seed)
        sections |= made
        stages += [Stage(name, _plugin(start, name)) for name in made]
    sections |= {stage.name: _afterwards(start, stage, rounds) for stage in start.after}
    stages += start.after
    if seed is not None:
        fixed = {stage.name: {"seed": seed} for stage in stages}
        sections = {name: merge(fixed.get(name, {}), values) for name, values in (fixed | sections).items()}
    sections[PIPELINE] = {"stages": [f"{stage.name}={stage.plugin}" for stage in stages]}
    return sections


def _plugin(start: Start, name: str) -> str:
    family = name.rpartition("_")[0]
    return start.online.plugin if family == start.online.name else family


def _round(start: Start, number: int, seed: int | None) -> dict[str, Values]:
    """Sample and label, refit, train: each from what the round before has made."""
    online, first = start.online.name, number == 1
    policy = start.policy_path if first else f"{STAGE_PREFIX}{online}_{number - 1}"
    reward_model = start.reward_path if first else f"{STAGE_PREFIX}{RM}_{number - 1}"
    pairs: Values = {"model": {"path": policy}, "reward_model": {"path": reward_model}, "round": number}
    if not reward_model:
        pairs["choose"] = "random"
    trained: Values = {"model": {"path": policy}, "reward_model": {"path": f"{STAGE_PREFIX}{RM}_{number}"}}
    if not first:
        trained["ref_model"] = {"path": start.policy_path}
        trained |= {"critic_of": policy} if start.online.plugin == PPO else {}
    refit = _refit(start, number, reward_model)
    if not first:
        refit["seed"] = _seed(seed, start.rm_config) + number - 1
        trained["seed"] = _seed(seed, start.configs[online]) + number - 1
    return {
        f"{PAIRS}_{number}": pairs,
        f"{RM}_{number}": _named_section(start, start.reward_model, refit),
        f"{online}_{number}": _named_section(start, start.online, trained),
    }


def _refit(start: Start, number: int, reward_model: str) -> Values:
    """On the first reward model's comparisons and those of all rounds so far."""
    old = start.rm_config.get("data", {}).get("source", []) if start.reward_path else []
    new = [f"{STAGE_PREFIX}{PAIRS}_{earlier}" for earlier in range(1, number + 1)]
    refit: Values = {"model": {"path": reward_model or start.policy_path}, "data": {"source": [*old, *new]}}
    if reward_model:
        refit["sft_model"] = {"path": start.policy_path}
    if WORLD in old:
        refit["labels_of"] = start.reward_path
    return refit


def _seed(seed: int | None, config: Values) -> int:
    return int(config.get("seed", 0)) if seed is None else seed


def _named_section(start: Start, origin: Stage, values: Values) -> Values:
    """With the section of a stage whose name is not its plugin's, which its repetitions would not read."""
    return values if origin.name == origin.plugin else merge(start.configs[origin.name], values)


def _afterwards(start: Start, stage: Stage, rounds: int) -> Values:
    """What a stage after the rounds links to: the last round's; an evaluation compares the policies of all."""
    config, online = start.configs[stage.name], start.online.name
    last = {online: f"{STAGE_PREFIX}{online}_{rounds}", start.reward_model.name: f"{STAGE_PREFIX}{RM}_{rounds}"}
    links = {STAGE_PREFIX + name: path for name, path in last.items()}
    linked = {key: value for key, value in flatten(config).items() if isinstance(value, str) and value in links}
    values = nested({key: links[value] for key, value in linked.items()})
    if stage.plugin != EVAL:
        return values
    policies = {name: "" for name, path in config.get("policies", {}).items() if path == STAGE_PREFIX + online}
    each = {f"{online}_{number}": f"{STAGE_PREFIX}{online}_{number}" for number in range(1, rounds + 1)}
    return values | {"policies": policies | each}
