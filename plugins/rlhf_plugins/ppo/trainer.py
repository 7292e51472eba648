"""PPO as a run: policy and reference from the SFT stage, critic from the reward model."""

from __future__ import annotations

from collections.abc import Sequence

from rlhf_engine.config import PPOConfig
from rlhf_engine.data.examples import Prompt
from rlhf_engine.experience import Experience
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.ppo import PPOModels, PPOState, ppo_update
from rlhf_engine.update_metrics import UpdateMetrics
from rlhf_plugins.online_trainer import OnlineTrainer


class PPOTrainer(OnlineTrainer):
    """One step is one PPO update on `batch_size` episodes."""

    config: PPOConfig

    def load_state(self) -> None:
        config, models = self.config, self.load_models()
        value_optimizer = config.value_optimizer or config.optimizer
        self.state = PPOState(
            models,
            ScheduledAdamW(models.policy.named_parameters(), config.optimizer, self.optimizer_steps),
            ScheduledAdamW(models.value_model.named_parameters(), value_optimizer, self.optimizer_steps),
            self.kl,
            eos_id=self.tokenizer.eos_token_id,
            pad_id=self.tokenizer.pad_token_id,
        )
        self.models = {"model": models.policy, "value_model": models.value_model}
        self.optimizers = {"model": self.state.policy_optimizer, "value_model": self.state.value_optimizer}

    def load_models(self) -> PPOModels:
        """Policy and reference from the SFT policy; critic from the reward model (Huang et al. 2024)."""
        policy, ref_policy = self.load_policies()
        value_model, reward_model = self.load_scalar_model(), self.load_scalar_model()
        return PPOModels(policy, ref_policy, value_model, reward_model.eval().requires_grad_(False))

    def update_on(self, prompts: Sequence[Prompt]) -> tuple[Experience, UpdateMetrics]:
        return ppo_update(self.state, prompts, self.config, self.run)
