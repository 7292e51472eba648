"""A PPO state on small models, fit to watch: hashes of weights, and the gradients of every optimizer step."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from engine_models import policy_of, scalar_model_of, word_tokenizer
from rlhf_engine import ppo
from rlhf_engine.config import Architecture, OptimizerConfig, PPOConfig
from rlhf_engine.data.examples import Prompt
from rlhf_engine.experience import PPOExperience
from rlhf_engine.hooks import NoHooks
from rlhf_engine.kl_control import FixedKL
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.ppo import PPOModels, PPOState

EOS, PAD = 0, 1
CPU = torch.device("cpu")
HOOKS = NoHooks()
CONFIG = PPOConfig(
    total_episodes=16, batch_size=8, minibatches=2, ppo_epochs=2, micro_batch_size=3, rollout_batch_size=5,
    response_tokens=6, temperature=0.7, optimizer=OptimizerConfig(lr=1e-3, schedule="constant"),
)  # fmt: skip
PROMPTS = [Prompt(str(i), "", [3 + i, 4 + i, 5 + i, 6 + i, 7 + i][: 1 + i % 5]) for i in range(8)]

SEEDS: dict[Architecture, int] = {"llama": 18, "gpt_neox": 27, "gpt2": 51}
"""Of policies whose responses to PROMPTS have unequal lengths, with and without EOS."""


def config_with(**changes: Any) -> PPOConfig:
    return msgspec.structs.replace(CONFIG, **changes)


class WatchedOptimizer(ScheduledAdamW):
    """Keeps the gradients that each step is given, by parameter name; None where there is none."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], config: OptimizerConfig, steps: int = 8) -> None:
        super().__init__(parameters, config, steps)
        self.gradients: list[dict[str, Tensor | None]] = []

    def step(self) -> float:
        named = zip(self.names, self.parameters, strict=True)
        self.gradients.append({name: None if p.grad is None else p.grad.clone() for name, p in named})
        return super().step()


def new_policy(architecture: Architecture = "llama", **changes: Any) -> Any:
    torch.manual_seed(SEEDS[architecture])
    return policy_of(word_tokenizer(), architecture, **changes)


def new_scalar_model(architecture: Architecture = "llama", **changes: Any) -> Any:
    torch.manual_seed(SEEDS[architecture] + 1)
    return scalar_model_of(word_tokenizer(), architecture, **changes)


def frozen_copy(model: Any) -> Any:
    return copy.deepcopy(model).eval().requires_grad_(False)


def new_state(config: PPOConfig = CONFIG, architecture: Architecture = "llama") -> PPOState:
    """The reference is a copy of the policy, the reward model one of the value model, as at the start of a run."""
    policy, value_model = new_policy(architecture), new_scalar_model(architecture)
    models = PPOModels(policy, frozen_copy(policy), value_model, frozen_copy(value_model))
    return PPOState(
        models,
        WatchedOptimizer(policy.named_parameters(), config.optimizer),
        WatchedOptimizer(value_model.named_parameters(), config.value_optimizer or config.optimizer),
        FixedKL(config.kl_coef),
        eos_id=EOS,
        pad_id=PAD,
    )


def new_experience(state: PPOState, config: PPOConfig = CONFIG) -> PPOExperience:
    """Of PROMPTS; its responses have unequal lengths, some end with EOS and some don't."""
    experience = ppo.collect_experience(state, PROMPTS, config, HOOKS)
    assert len(experience.rollout.response_lengths.unique()) > 2
    assert 0 < int(experience.rollout.ended.sum()) < len(PROMPTS)
    return experience


def weight_hash(model: nn.Module) -> str:
    """Of every parameter and buffer, bit for bit."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.detach().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def step_gradients(state: PPOState) -> list[dict[str, Tensor | None]]:
    """Gradients of all steps so far, the policy's and then the value model's."""
    optimizers: list[Any] = [state.policy_optimizer, state.value_optimizer]
    return [gradients for optimizer in optimizers for gradients in optimizer.gradients]


def gradients_of(*models: nn.Module) -> dict[str, Tensor | None]:
    """What has been accumulated, by number of the model and name."""
    return {f"{i}.{name}": p.grad for i, model in enumerate(models) for name, p in model.named_parameters()}


def assert_equal_gradients(a: dict[str, Tensor | None], b: dict[str, Tensor | None]) -> None:
    """Bit for bit, and not all of them 0."""
    assert a.keys() == b.keys()
    for name, left in a.items():
        right = b[name]
        assert (left is None) == (right is None), name
        assert left is None or right is None or torch.equal(left, right), name
    assert any(left is not None and bool(left.any()) for left in a.values())


def assert_close_gradients(a: dict[str, Tensor | None], b: dict[str, Tensor | None], *, rtol: float) -> None:
    """|a - b| <= rtol * max |a| + 1e-8 in every parameter: fp32 sums in another order differ relative to their largest.

    The floor is for gradients that are 0 but for rounding, such as that of a bias that shifts all scores alike.
    """
    assert a.keys() == b.keys()
    for name, left in a.items():
        right = b[name]
        assert (left is None) == (right is None), name
        if left is not None and right is not None:
            assert float((left - right).abs().max()) <= rtol * float(left.abs().max()) + 1e-8, name
    assert any(left is not None and bool(left.any()) for left in a.values())
