"""One update of each trainer on small random models, and the rows of its plan."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.plan_cases import HOOKS, MICRO_BATCH, ROWS, Case, Prepared, Update, optimizer_of, prompt_tokens, words
from benchmarks.tiny_models import CPU, LORA, POLICY, REWARD_ADAPTER, REWARD_MODEL, tokenizer
from rlhf_engine.adapters import add_adapter
from rlhf_engine.comparison_plan import plan_preferences, plan_rm
from rlhf_engine.config import (
    DPOConfig,
    ModelConfig,
    PPOConfig,
    PPOShardingConfig,
    ProbeConfig,
    RLOOConfig,
    RMConfig,
    SFTConfig,
)
from rlhf_engine.critic_free import CriticFreeModels, CriticFreeState, critic_free_update
from rlhf_engine.data.examples import ComparisonGroup, Prompt
from rlhf_engine.hacking.probe import Heads, Probe
from rlhf_engine.hooks import NoHooks
from rlhf_engine.kl_control import FixedKL
from rlhf_engine.layout_plan import plan_critic_free, plan_ppo
from rlhf_engine.layouts import load_ppo_models, own_parameters
from rlhf_engine.memory_plan import plan_sft
from rlhf_engine.models import load_policy
from rlhf_engine.ppo import PPOState, ppo_update
from rlhf_engine.preference_training import PreferenceState, preference_update
from rlhf_engine.ranked_plan.steps import (
    critic_free_traffic,
    ppo_traffic,
    preferences_traffic,
    rm_traffic,
    sft_traffic,
)
from rlhf_engine.reward_modeling import RewardModelState, reward_model_update
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_heads import HeadShape
from rlhf_engine.scalar_models import load_scalar_model
from rlhf_engine.sft import SFTState, sft_update


def sft(case: Case, folder: Path) -> Prepared:
    lora = case.lora() if "LoRA" in case.trainer else None
    config = SFTConfig(model=case.model(folder, POLICY), lora=lora, **case.shared())
    policy = load_policy(config.model, tokenizer(case.size.vocabulary), CPU)
    if lora:
        add_adapter(policy, lora)
    case.lay_out(model=policy)
    state = SFTState(policy, optimizer_of(policy.named_parameters(), case), ranks=case.ranks)
    responses = [words(case.size.response, row) for row in range(ROWS)]
    batch = Rollout.of_texts(prompt_tokens(case.size), responses, eos_id=0, pad_id=1, device=CPU)
    compute = config.precision.compute
    update = partial(sft_update, state, batch, micro_batch_size=MICRO_BATCH, compute=compute, hooks=HOOKS)
    return Prepared(
        update=update,
        rows=plan_sft(config, case.ranks.size),
        sent=sft_traffic(config, case.ranks.size),
        models={"policy": policy},
        optimizers={"policy": state.optimizer},
    )


def comparison_groups(case: Case) -> list[ComparisonGroup]:
    size = case.size
    return [
        ComparisonGroup(
            Prompt(str(row), "", tokens), ["", ""], [words(size.response, row), words(size.response, row + 1)], [(0, 1)]
        )
        for row, tokens in enumerate(prompt_tokens(size))
    ]


def reward_model(case: Case, folder: Path) -> Prepared:
    heads = case.heads or HeadShape()
    config = RMConfig(
        model=case.model(folder, POLICY), head=heads.kind, heads=heads.count, score_norm="none", **case.shared()
    )
    model = load_scalar_model(config.model, tokenizer(case.size.vocabulary), CPU, head_shape=heads)
    case.lay_out(model=model)
    state = RewardModelState(model, optimizer_of(model.named_parameters(), case), ranks=case.ranks)
    update = partial(
        reward_model_update,
        state,
        comparison_groups(case),
        micro_batch_size=MICRO_BATCH,
        compute=config.precision.compute,
        hooks=HOOKS,
    )
    return Prepared(
        update=update,
        rows=plan_rm(config, case.ranks.size),
        sent=rm_traffic(config, case.ranks.size),
        models={"reward_model": model},
        optimizers={"reward_model": state.optimizer},
    )


def dpo(case: Case, folder: Path) -> Prepared:
    config = DPOConfig(model=case.model(folder, POLICY), **case.shared())
    policy, reference = (load_policy(config.model, tokenizer(case.size.vocabulary), CPU) for _ in range(2))
    reference.eval().requires_grad_(False)
    case.lay_out(model=policy, ref_model=reference)
    state = PreferenceState(policy, reference, optimizer_of(policy.named_parameters(), case), ranks=case.ranks)
    return Prepared(
        update=partial(preference_update, state, comparison_groups(case), config, HOOKS),
        rows=plan_preferences(config, case.ranks.size),
        sent=preferences_traffic(config, case.ranks.size),
        models={"policy": policy, "ref_policy": reference},
        optimizers={"policy": state.optimizer},
    )


def online_settings(case: Case, folder: Path) -> dict[str, Any]:
    reward_model = REWARD_ADAPTER if "rm.lora" in case.trainer else REWARD_MODEL
    probe = ProbeConfig(every=1, size=ROWS, reward_model=str(folder / REWARD_MODEL))
    return case.shared() | {
        "probe": probe if "probe" in case.trainer else ProbeConfig(),
        "model": case.model(folder, POLICY),
        "reward_model": case.model(folder, reward_model),
        "rollout_batch_size": ROWS,
        "response_tokens": case.size.response,
        "ppo_epochs": 1,
    }


def prompts(case: Case) -> list[Prompt]:
    return [Prompt(str(row), "", tokens) for row, tokens in enumerate(prompt_tokens(case.size))]


def rloo(case: Case, folder: Path) -> Prepared:
    config = RLOOConfig(samples_per_prompt=2, **online_settings(case, folder))
    tokens = tokenizer(case.size.vocabulary)
    policy, reference = (load_policy(config.model, tokens, CPU) for _ in range(2))
    scorer = load_scalar_model(config.reward_model, tokens, CPU, key="reward_model").eval().requires_grad_(False)
    models = CriticFreeModels(policy, reference.eval().requires_grad_(False), scorer)
    case.lay_out(model=policy, ref_model=reference, reward_model=scorer)
    optimizer = optimizer_of(policy.named_parameters(), case)
    state = CriticFreeState(models, optimizer, FixedKL(config.kl_coef), eos_id=-1, pad_id=1, ranks=case.ranks)
    some = prompts(case)[: ROWS // 2]
    return Prepared(
        update=partial(critic_free_update, state, some, config, HOOKS),
        rows=plan_critic_free(config, case.ranks.size),
        sent=critic_free_traffic(config, case.ranks.size),
        models={"policy": policy, "ref_policy": reference, "reward_model": scorer},
        optimizers={"policy": optimizer},
    )


def ppo(case: Case, folder: Path) -> Prepared:
    layout: Any = case.trainer.split()[1].rstrip(",")
    lora = case.lora() if layout == "adapters" else None
    settings = online_settings(case, folder) | {"sharding": PPOShardingConfig(model=case.sharding)}
    config = PPOConfig(layout=layout, lora=lora, **settings)
    models = load_ppo_models(config, tokenizer(case.size.vocabulary), CPU, HOOKS)
    roles = {"policy": models.policy, "value_model": models.value_model, "ref_policy": models.ref_policy}
    case.lay_out(
        model=models.policy,
        value_model=models.value_model,
        ref_model=models.ref_policy,
        reward_model=models.reward_model,
    )
    critic = own_parameters(models.value_model, models.policy)
    policy_optimizer = optimizer_of(models.policy.named_parameters(), case)
    value_optimizer = optimizer_of(critic.items(), case)
    kl, ranks = FixedKL(config.kl_coef), case.ranks
    state = PPOState(models, policy_optimizer, value_optimizer, kl, eos_id=-1, pad_id=1, ranks=ranks)
    adapter = LORA if "rm.lora" in case.trainer else None
    update = partial(ppo_update, state, prompts(case), config, HOOKS)
    return Prepared(
        update=with_probe(update, state, case, config) if config.probe.every else update,
        rows=plan_ppo(config, ranks.size, reward_adapter=adapter),
        sent=ppo_traffic(config, ranks.size, reward_adapter=adapter),
        models={**roles, "reward_model": models.reward_model},
        optimizers={"policy": policy_optimizer, "value_model": value_optimizer},
    )


def with_probe(update: Update, state: PPOState, case: Case, config: PPOConfig) -> Update:
    """The update, then a probe with a second opinion from a reward model of its own."""
    tokens = tokenizer(case.size.vocabulary)
    other = load_scalar_model(ModelConfig(path=config.probe.reward_model), tokens, CPU).eval().requires_grad_(False)
    probe = Probe(prompts(case), Heads("second reward model", other, penalty=0.0), tokens)

    def both() -> None:
        update()
        with HOOKS.phase("probe"):
            probe.read(state, config, NoHooks())

    return both


UPDATES: dict[str, Callable[[Case, Path], Prepared]] = {
    "SFT": sft,
    "SFT, LoRA": sft,
    "SFT, LoRA on few": sft,
    "RM": reward_model,
    "RM, 3 MLP heads": reward_model,
    "DPO": dpo,
    "RLOO": rloo,
    "PPO separate": ppo,
    "PPO separate, 3 MLP heads": ppo,
    "PPO separate, probe": ppo,
    "PPO shared_trunk": ppo,
    "PPO adapters": ppo,
    "PPO adapters, rm.lora": ppo,
}
