"""PPO as a run: models from the SFT and reward-model stages, prompts, samples, and the checks at the first update."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlhf_engine.config import PPOConfig
from rlhf_engine.data.api import load_prompts
from rlhf_engine.data.examples import Prompt
from rlhf_engine.data.world import Post, gold_score
from rlhf_engine.errors import ConfigError
from rlhf_engine.experience import Experience
from rlhf_engine.generation import response_texts
from rlhf_engine.models import load_policy
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.order import shuffled_batch
from rlhf_engine.ppo import PPOModels, PPOState, ppo_update
from rlhf_engine.kl_control import FixedKL
from rlhf_engine.scalar_models import load_scalar_model
from rlhf_plugins.engine_trainer import EngineTrainer

RATIO_TOLERANCE = 1e-5


class PPOTrainer(EngineTrainer):
    """One step is one PPO update on `batch_size` episodes."""

    config: PPOConfig

    def prepare(self) -> None:
        config = self.config
        if config.batch_size % config.minibatches:
            raise ConfigError(
                f"ppo.minibatches: {config.minibatches} equal minibatches can't be cut from batch_size = "
                f"{config.batch_size}; choose a divisor of it"
            )
        self.tokenizer = self.load_tokenizer(config.data)
        self.prompts = self.keep_skipped(load_prompts(config.data, self.tokenizer, hooks=self.run), "prompts")
        models = self.load_models()
        self.total_steps = max(config.total_episodes // config.batch_size, 1)
        optimizer_steps = self.total_steps * config.ppo_epochs * config.minibatches
        value_optimizer = config.value_optimizer or config.optimizer
        self.state = PPOState(
            models,
            ScheduledAdamW(models.policy.named_parameters(), config.optimizer, optimizer_steps),
            ScheduledAdamW(models.value_model.named_parameters(), value_optimizer, optimizer_steps),
            FixedKL(config.kl_coef),
            eos_id=self.tokenizer.eos_token_id,
            pad_id=self.tokenizer.pad_token_id,
        )
        self.models = {"model": models.policy, "value_model": models.value_model}
        self.optimizers = {"model": self.state.policy_optimizer, "value_model": self.state.value_optimizer}

    def load_models(self) -> PPOModels:
        """Policy and reference from the SFT policy; critic from the reward model (Huang et al. 2024)."""
        config, tokenizer, device = self.config, self.tokenizer, self.device
        if not config.model.path or not config.reward_model.path:
            raise ConfigError(
                "ppo.model.path and ppo.reward_model.path: PPO starts from an SFT policy and a reward model; give "
                "directories, hub ids or run:ID"
            )
        return PPOModels(
            policy=load_policy(config.model, tokenizer, device),
            ref_policy=load_policy(config.model, tokenizer, device).eval().requires_grad_(False),
            value_model=load_scalar_model(config.reward_model, tokenizer, device, key="reward_model"),
            reward_model=load_scalar_model(config.reward_model, tokenizer, device, key="reward_model")
            .eval()
            .requires_grad_(False),
        )

    def update(self) -> dict[str, float]:
        config = self.config
        rows = shuffled_batch(len(self.prompts), config.batch_size, self.steps_done, config.seed)
        prompts = [self.prompts[row] for row in rows]
        experience, metrics = ppo_update(self.state, prompts, config, self.run)
        if self.steps_done == 0:
            self.check_first_update(metrics.values)
        texts = response_texts(experience.rollout, self.tokenizer)
        golds = _gold_scores(prompts, texts, experience)
        if self.steps_done % config.sample_every == 0:
            self.record_samples(prompts, texts, golds, experience)
        figures = dict(metrics.values) | {
            "episode": float(self.state.updates_done * config.batch_size),
            "throughput/episodes_per_second|rate": float(len(prompts)),
        }
        return figures | ({"gold/score_mean": sum(golds) / len(golds)} if golds else {})

    def check_first_update(self, values: dict[str, float]) -> None:
        """Before any weight has changed the policy is the reference, and the new log-probabilities are the old."""
        kl, ratio = values["kl/token_max_nats"], values["policy/ratio_max_deviation"]
        self.run.check(
            "kl_before_first_update", "ok" if kl == 0.0 else "fail", kl, 0.0,
            "max |KL| per token in nats between policy and reference before the first update",
        )  # fmt: skip
        self.run.check(
            "ratio_on_first_minibatch", "ok" if ratio <= RATIO_TOLERANCE else "fail", ratio, RATIO_TOLERANCE,
            "max |ratio - 1| on the first minibatch: old and new log-probabilities come from the same forward",
        )  # fmt: skip

    def record_samples(
        self, prompts: Sequence[Prompt], texts: Sequence[str], golds: Sequence[float], experience: Experience
    ) -> None:
        """The update's first few episodes."""
        kl, lengths = experience.sequence_kl, experience.rollout.response_lengths
        for row in range(min(self.config.sample_count, len(prompts))):
            metrics = {
                "score": float(experience.scores[row]),
                "kl/sequence_nats": float(kl[row]),
                "response_tokens": float(lengths[row]),
            }
            self.run.sample(
                tag="rollout",
                index=row,
                prompt=prompts[row].text,
                response=texts[row],
                reference=prompts[row].reference,
                ended=bool(experience.rollout.ended[row]),
                metrics=metrics | ({"gold": golds[row]} if golds else {}),
            )

    def load(self, directory: Path) -> None:
        super().load(directory)
        self.state.updates_done = self.steps_done


def _gold_scores(prompts: Sequence[Prompt], texts: Sequence[str], experience: Experience) -> list[float]:
    """Gold of each episode in the built-in world; empty elsewhere."""
    if "latents" not in prompts[0].record:
        return []
    rows = zip(prompts, texts, experience.rollout.ended.tolist(), strict=True)
    return [gold_score(Post.from_record(prompt.record), text, ended=ended) for prompt, text, ended in rows]
