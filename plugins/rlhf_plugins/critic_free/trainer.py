"""RLOO and GRPO as runs: policy and reference from the SFT stage, and a reward model; no critic."""

from __future__ import annotations

from collections.abc import Sequence

from rlhf_engine.config import GRPOConfig, RLOOConfig
from rlhf_engine.critic_free import CriticFreeModels, CriticFreeState, critic_free_update
from rlhf_engine.data.examples import Prompt
from rlhf_engine.experience import Experience
from rlhf_engine.update_metrics import UpdateMetrics
from rlhf_plugins.online_trainer import OnlineTrainer


class CriticFreeTrainer(OnlineTrainer):
    """One step is one update on `batch_size` episodes; the config's type says whether it is RLOO's or GRPO's."""

    config: RLOOConfig | GRPOConfig
    roles = ("model", "ref_model", "reward_model")

    @property
    def samples_per_prompt(self) -> int:
        return self.config.samples_per_prompt

    def load_state(self) -> None:
        policy, ref_policy = self.load_policies()
        reward_model = self.load_scalar_model().eval().requires_grad_(False)
        self.lay_out(model=policy, ref_model=ref_policy, reward_model=reward_model)
        models = CriticFreeModels(policy, ref_policy, reward_model)
        self.state = CriticFreeState(
            models,
            self.new_optimizer(policy.named_parameters(), self.planned_optimizer_steps),
            self.kl,
            eos_id=self.tokenizer.eos_token_id,
            pad_id=self.tokenizer.pad_token_id,
            ranks=self.ranks,
        )
        self.models = {"model": policy}
        self.optimizers = {"model": self.state.policy_optimizer}

    def update_on(self, prompts: Sequence[Prompt]) -> tuple[Experience, UpdateMetrics]:
        return critic_free_update(self.state, prompts, self.config, self.run)
