"""What PPO, RLOO and GRPO share as runs: prompts, samples, sanity lights, KL that ends a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from rlhf_engine.checks.online import experience_figures, online_rules
from rlhf_engine.checks.rules import Rule
from rlhf_engine.collecting import score_gains_of
from rlhf_engine.config import OnlineConfig, PPOConfig
from rlhf_engine.data.api import load_prompts
from rlhf_engine.data.examples import Prompt
from rlhf_engine.data.world import Post, gold_score
from rlhf_engine.errors import ConfigError
from rlhf_engine.experience import Experience
from rlhf_engine.generation import response_texts
from rlhf_engine.hooks import NoHooks
from rlhf_engine.kl_control import kl_controller
from rlhf_engine.layouts import load_ref_policy
from rlhf_engine.models import load_policy
from rlhf_engine.order import shuffled_batch
from rlhf_engine.ranks import check_divisible
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_models import ScalarModel, load_scalar_model
from rlhf_engine.token_ends import token_ends
from rlhf_engine.unfinished_update import UnfinishedUpdate
from rlhf_engine.update_metrics import UpdateMetrics
from rlhf_plugins.engine_trainer import translated_errors
from rlhf_plugins.episodes import episode_figures, response_tokens, shortest, token_values
from rlhf_plugins.policy_sampling import PolicySampler
from rlhf_plugins.probing import load_probing
from rlhf_sdk.checkpoints import checkpoint_name
from rlhf_sdk.trainer import Metrics

STATE_FILE = "online.json"
UNFINISHED_FILE = "unfinished.safetensors"


class OnlineTrainer(PolicySampler):
    """One step is one update on `batch_size` episodes. A subclass fills in `load_state` and `update_on`."""

    config: OnlineConfig

    @property
    def samples_per_prompt(self) -> int:
        """How many responses to each prompt an update samples."""
        return 1

    def load_state(self) -> None:
        """Loads the models, and sets `state`, `models` and `optimizers`."""
        raise NotImplementedError

    def update_on(self, prompts: Sequence[Prompt]) -> tuple[Experience, UpdateMetrics]:
        """One update; the experience has `samples_per_prompt` rows for each prompt, side by side."""
        raise NotImplementedError

    def prepare(self) -> None:
        config = self.config
        self.check_config()
        self.tokenizer = self.load_tokenizer(config.data)
        self.prompts = self.keep_skipped(load_prompts(config.data, self.tokenizer, hooks=self.run), "prompts")
        self.total_steps = max(config.total_episodes // config.batch_size, 1)
        self.planned_optimizer_steps = self.total_steps * config.ppo_epochs * config.minibatches
        self.kl = kl_controller(config)
        self.beyond_kl_limit = False
        self.load_state()
        reward_model = self.state.models.reward_model
        self.probing = load_probing(
            self.run, config, self.tokenizer, self.device, reward_model, updates=self.total_steps
        )

    def check_config(self) -> None:
        """Raises ConfigError where the settings don't fit each other."""
        config = self.config
        if config.batch_size % config.minibatches:
            raise ConfigError(
                f"minibatches: {config.minibatches} equal minibatches can't be cut from batch_size = "
                f"{config.batch_size}; choose a divisor of it"
            )
        check_divisible(config.batch_size // config.minibatches, self.ranks, "batch_size / minibatches")
        if config.batch_size % self.samples_per_prompt:
            raise ConfigError(
                f"samples_per_prompt: batch_size = {config.batch_size} is not a multiple of {self.samples_per_prompt}"
            )
        if not config.model.path or not config.reward_model.path:
            raise ConfigError(
                "model.path and reward_model.path: training starts from an SFT policy and a reward model; give "
                "directories, hub ids or run:ID"
            )

    def light_rules(self) -> Sequence[Rule]:
        return online_rules(self.config.precision.compute, starts_at_reference=not self.config.ref_model.path)

    def light_figures(self, metrics: Mapping[str, float]) -> Mapping[str, float]:
        return {**metrics, **self.experience_figures}

    def load_policies(self) -> tuple[PreTrainedModel, PreTrainedModel]:
        """The policy and its frozen reference."""
        policy = load_policy(self.config.model, self.tokenizer, self.loading_device)
        return policy, load_ref_policy(self.config, self.tokenizer, self.loading_device)

    def load_scalar_model(self) -> ScalarModel:
        """The reward model, to be frozen, or to become a critic."""
        return load_scalar_model(self.config.reward_model, self.tokenizer, self.loading_device, key="reward_model")

    def update(self) -> dict[str, float]:
        config = self.config
        if self.probing:
            self.probing.begin(self.state, config)
        prompt_count = config.batch_size // self.samples_per_prompt
        rows = shuffled_batch(len(self.prompts), prompt_count, self.steps_done, config.seed)
        experience, metrics = self.update_on([self.prompts[row] for row in rows])
        self.experience_figures = experience_figures(
            experience,
            eos_id=self.tokenizer.eos_token_id,
            whitened=isinstance(config, PPOConfig) and config.whiten_advantages,
        )
        prompts = [self.prompts[row] for row in rows for _ in range(self.samples_per_prompt)]
        texts = response_texts(experience.rollout, self.tokenizer)
        golds = _gold_scores(prompts, texts, experience)
        if self.steps_done % config.sample_every == 0:
            self.record_samples(rows, texts, golds, experience)
        figures = dict(metrics.values) | {
            "episode": float(self.state.updates_done * config.batch_size),
            "throughput/episodes_per_second|rate": float(len(prompts)),
        }
        figures |= {"gold/score_mean": sum(golds) / len(golds)} if golds else {}
        return figures | (self.probing.after(self.state, config) if self.probing else {})

    def step(self) -> Metrics | None:
        metrics = None if self.beyond_kl_limit else super().step()
        if metrics is not None:
            self.end_beyond_kl_limit(metrics["kl/sequence_nats"])
        return metrics

    def end_beyond_kl_limit(self, kl_nats: float) -> None:
        """Makes this step the last one where KL to the reference exceeds `run_kl_limit_nats_per_sequence`."""
        limit = self.config.run_kl_limit_nats_per_sequence
        if not limit or kl_nats <= limit:
            return
        self.beyond_kl_limit = True
        self.run.note(
            f"ended after update {self.steps_done} of {self.total_steps}: KL to the reference was {kl_nats:.2f} nats "
            f"per sequence, beyond run_kl_limit_nats_per_sequence = {limit:g}; the last checkpoint is "
            f"checkpoints/{checkpoint_name(self.steps_done)}"
        )

    def record_samples(
        self, rows: Sequence[int], texts: Sequence[str], golds: Sequence[float], experience: Experience
    ) -> None:
        """The few episodes whose prompts come first in the data: so prompts are seen again in each pass over it."""
        by_prompt = sorted(range(len(experience)), key=lambda episode: rows[episode // self.samples_per_prompt])
        shown = by_prompt[: self.config.sample_count]
        gains = self.score_gains(experience.rollout, shown)
        for place, episode in enumerate(shown):
            row = rows[episode // self.samples_per_prompt]
            tokens = response_tokens(experience, episode)
            self.run.sample(
                tag="rollout",
                index=row,
                prompt=self.prompts[row].text,
                response=texts[episode],
                reference=self.prompts[row].reference,
                ended=bool(experience.rollout.ended[episode]),
                metrics=episode_figures(experience, episode) | ({"gold": golds[episode]} if golds else {}),
                token_ends=token_ends(tokens, texts[episode], self.tokenizer),
                token_values=token_values(experience, episode) | {"score_gain": gains[place][: len(tokens)]},
            )

    def score_gains(self, rollout: Rollout, episodes: Sequence[int]) -> list[list[float]]:
        """Of each token of these episodes. No hooks: the update is over, so nothing may be kept or left here."""
        if not episodes:
            return []
        chosen = rollout.rows(torch.tensor(episodes, device=rollout.response_tokens.device))
        gains = score_gains_of(self.state, self.state.models.reward_model, chosen, self.config, NoHooks())
        return [[shortest(gain) for gain in row] for row in gains.tolist()]

    def can_leave(self) -> bool:
        """Anywhere but in a probe: a checkpoint keeps what the update has done so far."""
        return not (self.probing and self.probing.under_way)

    def finish(self) -> None:
        if self.probing:
            self.probing.tell(self.state.updates_done)

    def reconfigure(self, config: OnlineConfig) -> None:
        """Takes over live values; `kl_coef` as the coefficient of the next update, also under an adaptive control."""
        with translated_errors():
            controller = kl_controller(config)
        if config.kl_coef == self.config.kl_coef:
            controller.coef = self.state.kl.coef
        self.state.kl = controller
        super().reconfigure(config)

    def policy_to_sample(self) -> PreTrainedModel:
        policy: PreTrainedModel = self.state.models.policy
        return policy

    def prompts_to_sample(self, count: int) -> list[Prompt]:
        return [self.prompts[i] for i in range(min(count, len(self.prompts)))]

    def response_tokens(self) -> int:
        return self.config.response_tokens

    def write_checkpoint(self, directory: Path) -> None:
        super().write_checkpoint(directory)
        if self.state.unfinished is not None:
            self.forget_responses_of_ranks()
            save_file(self.state.unfinished.tensors(), directory / UNFINISHED_FILE)
        state = {"kl_coef": self.state.kl.coef, "beyond_kl_limit": self.beyond_kl_limit}
        (directory / STATE_FILE).write_text(json.dumps(state))
        if self.probing:
            self.probing.save(directory)

    def load(self, directory: Path) -> None:
        super().load(directory)
        state = json.loads((directory / STATE_FILE).read_text())
        self.state.kl.coef, self.beyond_kl_limit = state["kl_coef"], state["beyond_kl_limit"]
        self.state.updates_done = self.steps_done
        if (directory / UNFINISHED_FILE).exists():
            self.state.unfinished = UnfinishedUpdate.of_tensors(load_file(directory / UNFINISHED_FILE), self.device)
            self.forget_responses_of_ranks()
        if self.probing:
            self.probing.load(directory)

    def forget_responses_of_ranks(self) -> None:
        """Until the experience is complete each rank has the responses to its own share of the prompts alone: after a
        restart they are sampled again, to the same bits.
        """
        if self.ranks.size > 1:
            self.state.unfinished.responses = None


def _gold_scores(prompts: Sequence[Prompt], texts: Sequence[str], experience: Experience) -> list[float]:
    """Gold of each episode in the built-in world; empty elsewhere."""
    if "latents" not in prompts[0].record:
        return []
    rows = zip(prompts, texts, experience.rollout.ended.tolist(), strict=True)
    return [gold_score(Post.from_record(prompt.record), text, ended=ended) for prompt, text, ended in rows]
