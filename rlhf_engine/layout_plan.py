"""How much memory online training needs, PPO in each of its layouts, by arithmetic. Torch-free; layouts: layouts.py."""

from __future__ import annotations

from dataclasses import replace

from rlhf_engine.activations import Batch
from rlhf_engine.config import CriticFreeConfig, LoraConfig, OnlineConfig, PPOConfig
from rlhf_engine.known_models import ModelShape
from rlhf_engine.memory_rows import (
    ALWAYS,
    MemoryRow,
    compute_bytes,
    forward_rows,
    framework,
    gathered,
    merged_weights,
    moments,
    sampling_rows,
    with_peak,
)
from rlhf_engine.online_roles import Roles, critic_free_roles, ppo_roles
from rlhf_engine.probe_plan import probe_rows, second_model_shape
from rlhf_engine.ranked_plan.places import of_one_rank
from rlhf_engine.ranked_plan.placing import NOTHING, Placed
from rlhf_engine.update_rows import Update, update_rows

AFTER_ROLLOUT = ("policy logprobs", "reference logprobs", "values", "scores")


def plan_ppo(
    config: PPOConfig,
    ranks: int = 1,
    *,
    scalar: ModelShape | None = None,
    reward_adapter: LoraConfig | None = None,
    second: ModelShape | None = None,
) -> list[MemoryRow]:
    """Rows of a PPO run in `config.layout`, of one of its `ranks`. `scalar` and `reward_adapter`: see `ppo_roles`;
    `second`: the shape of the probe's reward model, if a stage has yet to make it.

    Weights are what a role adds to those above it: of policy and value head on one trunk, the trunk is the policy's;
    of adapters on one backbone, the backbone is the reference's.
    Raises ConfigError where the models' sizes can't be known.
    """
    roles = ppo_roles(config, ranks, scalar=scalar, reward_adapter=reward_adapter)
    return with_peak(online_rows(of_one_rank(config, ranks), roles, second or second_model_shape(config)))


def plan_critic_free(
    config: CriticFreeConfig,
    ranks: int = 1,
    *,
    scalar: ModelShape | None = None,
    second: ModelShape | None = None,
) -> list[MemoryRow]:
    """Rows of an RLOO or GRPO run, of one of its `ranks`. Raises ConfigError where the models' sizes can't be known."""
    roles = critic_free_roles(config, ranks, scalar=scalar)
    return with_peak(online_rows(of_one_rank(config, ranks), roles, second or second_model_shape(config)))


def online_rows(config: OnlineConfig, roles: Roles, second: ModelShape | None = None) -> list[MemoryRow]:
    """Rows of one rank of an online run, by the names of its phases, of its share of the batch.

    `second`: the shape of the probe's own reward model.
    """
    policy, number = roles.trained[0], compute_bytes(config.precision)
    tokens, responses = config.data.max_prompt_tokens + config.response_tokens, config.response_tokens
    minibatch = config.batch_size // config.minibatches
    together = roles.samples_per_prompt if roles.ranks == 1 else 1
    scored = _behind_prompts(min(config.micro_batch_size, config.batch_size), tokens, responses, together)
    sampled = Batch(min(config.rollout_batch_size, config.batch_size), tokens, responses)
    in_minibatch = together if config.minibatches == 1 else 1
    micro_batch = _behind_prompts(min(config.micro_batch_size, minibatch), tokens, responses, in_minibatch)
    return [
        framework(),
        *roles.held,
        *(moments(role) for role in roles.trained),
        MemoryRow("experience", ALWAYS, roles.ranks * config.batch_size * (18 * tokens + 56 * responses)),
        *_rollout_rows(roles, sampled, number),
        *_logprob_rows(roles, scored, number),
        *_value_rows(roles, scored, number),
        *_score_rows(roles, replace(scored, read=0), number),
        *_left_gathered(roles),
        *update_rows(Update(roles.trained, micro_batch, number, accumulated=minibatch > config.micro_batch_size)),
        *probe_rows(config, policy, roles.reward_model, second, roles.reward_adapter, roles.ranks),
        *merged_weights(policy),
    ]


def _behind_prompts(rows: int, tokens: int, responses: int, together: int) -> Batch:
    """So many responses, `together` of them behind each prompt; shuffling or dealing over ranks may part them."""
    if together == 1:
        return Batch(rows, tokens, responses)
    behind = together * responses
    return Batch(-(-rows // together), tokens - responses + behind, behind, branches=behind)


def _rollout_rows(roles: Roles, sampled: Batch, number: int) -> list[MemoryRow]:
    policy, samples = roles.trained[0], roles.samples_per_prompt
    shape, gathers = policy.shape, policy.gathers
    return sampling_rows(shape, sampled, number, "rollout", samples_per_prompt=samples, gathers=gathers)


def _logprob_rows(roles: Roles, scored: Batch, number: int) -> list[MemoryRow]:
    policy, ref_policy = roles.trained[0], roles.ref_policy
    shape, lora = policy.shape, policy.lora
    gathers, of_reference = (_unless_left(weights, policy.gathers) for weights in (policy.gathers, ref_policy))
    return [
        *forward_rows(
            shape, scored, number, "policy logprobs", role="policy", lora=lora, entropies=True, gathers=gathers
        ),
        *forward_rows(shape, scored, number, "reference logprobs", entropies=True, gathers=of_reference),
    ]


def _value_rows(roles: Roles, scored: Batch, number: int) -> list[MemoryRow]:
    if roles.critic is None:
        return []
    policy, critic = roles.trained[0], roles.trained[-1]
    batch, gathers = replace(scored, read=0), _unless_left(critic.gathers, policy.gathers)
    return forward_rows(roles.critic, batch, number, "values", role=critic.name, lora=critic.lora, gathers=gathers)


def _score_rows(roles: Roles, batch: Batch, number: int) -> list[MemoryRow]:
    left = [role.gathers for role in roles.trained]
    gathers = _unless_left(roles.rewarding_backbone or roles.rewarding, *left)
    return forward_rows(roles.reward_model, batch, number, "scores", lora=roles.reward_adapter, gathers=gathers)


def _unless_left(gathers: Placed, *left: Placed) -> Placed:
    """Nothing where zero-2 has left these very weights gathered."""
    return NOTHING if gathers.stays_gathered and any(gathers is one for one in left) else gathers


def _left_gathered(roles: Roles) -> list[MemoryRow]:
    """In zero-2 what a rollout has gathered, and then the critic, until the update's first backward pass."""
    policy, critic = roles.trained[0], roles.trained[-1]
    found = []
    if policy.gathers.stays_gathered:
        phases = [phase for phase in AFTER_ROLLOUT if phase != "values" or roles.critic]
        found += [gathered(phase, policy.gathers.gathered_whole, policy.name) for phase in phases]
    if critic.gathers.stays_gathered and critic.gathers is not policy.gathers:
        found.append(gathered("scores", critic.gathers.gathered_whole, critic.name))
    return found
