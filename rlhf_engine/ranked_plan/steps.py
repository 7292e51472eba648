"""What a rank of each trainer sends in one step (an update, in online training). Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from rlhf_engine.comparison_plan import preference_roles, reward_model_role
from rlhf_engine.config import (
    CriticFreeConfig,
    KTOConfig,
    LoraConfig,
    OnlineConfig,
    PPOConfig,
    PreferenceConfig,
    PretrainConfig,
    RMConfig,
    SFTConfig,
)
from rlhf_engine.known_models import ModelShape
from rlhf_engine.memory_plan import fine_tuned_role, pretrained_role
from rlhf_engine.memory_rows import TrainedRole
from rlhf_engine.online_roles import Roles, critic_free_roles, ppo_roles
from rlhf_engine.ranked_plan.places import of_one_rank
from rlhf_engine.ranked_plan.placing import Placed
from rlhf_engine.ranked_plan.traffic import FORWARD, Sent, Training, added, joined, passing, training, whole

RESPONSE_BYTES = 8 + 1
"""A token of a response and its mask."""
LOGPROB_BYTES = 2 * 4
"""A log-probability and an entropy, of each token, of the policy and of the reference."""
VALUE_BYTES = 4
SCORE_BYTES = 2 * 4
"""A score and a disagreement of each response."""


def pretrain_traffic(config: PretrainConfig, ranks: int) -> list[Sent]:
    """Of one step of pre-training."""
    return _supervised(config, pretrained_role(config, ranks), ranks)


def sft_traffic(config: SFTConfig, ranks: int) -> list[Sent]:
    """Of one step of supervised fine-tuning."""
    return _supervised(config, fine_tuned_role(config, ranks), ranks)


def rm_traffic(config: RMConfig, ranks: int) -> list[Sent]:
    """Of one step of a reward model; margins and scores of its pairs, some numbers each, are left out."""
    return _supervised(config, reward_model_role(config, ranks), ranks)


def preferences_traffic(config: PreferenceConfig, ranks: int) -> list[Sent]:
    """Of one step of DPO, IPO or KTO; figures of its pairs, some numbers each, are left out."""
    policy, ref_policy = preference_roles(config, ranks)
    times = _pieces(of_one_rank(config, ranks).batch_size, config.micro_batch_size)
    sent = [*passing(FORWARD, ref_policy, times), *training(_trained(policy, times))]
    if isinstance(config, KTOConfig):
        sent += [one for gathers in (policy.gathers, ref_policy) for one in passing("reference point", gathers, times)]
    return added(sent)


def ppo_traffic(
    config: PPOConfig,
    ranks: int,
    *,
    scalar: ModelShape | None = None,
    reward_adapter: LoraConfig | None = None,
) -> list[Sent]:
    """Of one update. `scalar` and `reward_adapter`: see `ppo_roles`."""
    return _online(config, ppo_roles(config, ranks, scalar=scalar, reward_adapter=reward_adapter))


def critic_free_traffic(config: CriticFreeConfig, ranks: int, *, scalar: ModelShape | None = None) -> list[Sent]:
    """Of one update of RLOO or GRPO."""
    return _online(config, critic_free_roles(config, ranks, scalar=scalar))


def _supervised(config: PretrainConfig | SFTConfig | RMConfig, role: TrainedRole, ranks: int) -> list[Sent]:
    own = of_one_rank(config, ranks).batch_size
    return added(training(_trained(role, _pieces(own, config.micro_batch_size))))


def _online(config: OnlineConfig, roles: Roles) -> list[Sent]:
    policy, rows = roles.trained[0], of_one_rank(config, roles.ranks).batch_size
    times, steps = _pieces(rows, config.micro_batch_size), config.ppo_epochs * config.minibatches
    in_update = steps * _pieces(rows // config.minibatches, config.micro_batch_size)
    sent, left_gathered = [*whole("rollout", policy.gathers)], [policy.gathers]
    for phase, gathers in _passes(roles):
        if not (gathers.stays_gathered and _among(left_gathered, gathers)):
            sent += passing(phase, gathers, times)
        left_gathered.append(gathers)
    for role in roles.trained:
        already = role.gathers.stays_gathered and _among(left_gathered, role.gathers)
        sent += training(Training(role.placed, role.gathers, in_update, steps, already))
    return added([*sent, *_joins(config, roles, rows)])


def _among(gathered: Sequence[Placed], one: Placed) -> bool:
    """Whether these very tensors are, not some as large."""
    return any(other is one for other in gathered)


def _passes(roles: Roles) -> list[tuple[str, Placed]]:
    """Forwards without gradient, in their order, and what they gather."""
    return [
        ("policy logprobs", roles.trained[0].gathers),
        ("reference logprobs", roles.ref_policy),
        *(("values", critic.gathers) for critic in _critics(roles)),
        ("scores", roles.rewarding_backbone or roles.rewarding),
    ]


def _critics(roles: Roles) -> list[TrainedRole]:
    """Those that give values: the policy itself where the trunk is shared."""
    return [] if roles.critic is None else [roles.trained[-1]]


def _joins(config: OnlineConfig, roles: Roles, rows: int) -> list[Sent]:
    tokens, ranks = config.response_tokens, roles.ranks
    return [
        joined("rollout", rows, RESPONSE_BYTES * tokens + 1, ranks),
        joined("policy logprobs", rows, LOGPROB_BYTES * tokens, ranks),
        joined("reference logprobs", rows, LOGPROB_BYTES * tokens, ranks),
        *(joined("values", rows, VALUE_BYTES * tokens, ranks) for _ in _critics(roles)),
        joined("scores", rows, SCORE_BYTES, ranks),
    ]


def _trained(role: TrainedRole, micro_batches: int) -> Training:
    return Training(role.placed, role.gathers, micro_batches)


def _pieces(rows: int, size: int) -> int:
    return -(-rows // size)
