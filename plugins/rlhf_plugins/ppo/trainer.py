"""PPO as a run: policy and reference from the SFT stage, critic from the reward model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlhf_engine.checkpoint import load_critic, save_scale
from rlhf_engine.config import OptimizerConfig, PPOConfig
from rlhf_engine.data.examples import Prompt
from rlhf_engine.experience import Experience
from rlhf_engine.layouts import load_ppo_models, own_parameters
from rlhf_engine.ppo import PPOState, ppo_update
from rlhf_engine.update_metrics import UpdateMetrics
from rlhf_plugins.online_trainer import OnlineTrainer

CRITIC = "value_model"


class PPOTrainer(OnlineTrainer):
    """One step is one PPO update on `batch_size` episodes."""

    config: PPOConfig
    roles = ("model", "value_model", "ref_model", "reward_model")

    def load_state(self) -> None:
        config = self.config
        models = load_ppo_models(config, self.tokenizer, self.loading_device, self.run)
        if config.critic_of:
            critic = own_parameters(models.value_model, models.policy)
            load_critic(models.value_model, critic, Path(config.critic_of).parent / CRITIC)
        self.lay_out(
            model=models.policy,
            value_model=models.value_model,
            ref_model=models.ref_policy,
            reward_model=models.reward_model,
        )
        critic = own_parameters(models.value_model, models.policy)
        self.state = PPOState(
            models,
            self.new_optimizer(models.policy.named_parameters(), self.planned_optimizer_steps),
            self.new_optimizer(critic.items(), self.planned_optimizer_steps, "value_model"),
            self.kl,
            eos_id=self.tokenizer.eos_token_id,
            pad_id=self.tokenizer.pad_token_id,
            ranks=self.ranks,
        )
        self.models, self.parts = {"model": models.policy}, {CRITIC: critic}
        self.optimizers = {"model": self.state.policy_optimizer, "value_model": self.state.value_optimizer}

    def write_checkpoint(self, directory: Path) -> None:
        super().write_checkpoint(directory)
        save_scale(self.state.models.value_model, directory / CRITIC)

    def optimizer_config(self, name: str) -> OptimizerConfig:
        return (name == "value_model" and self.config.value_optimizer) or self.config.optimizer

    def update_on(self, prompts: Sequence[Prompt]) -> tuple[Experience, UpdateMetrics]:
        return ppo_update(self.state, prompts, self.config, self.run)
