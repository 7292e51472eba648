"""Reward-model training, held-out accuracy, and normalisation at the end."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from rlhf_engine.adapters import add_adapter
from rlhf_engine.checks.rules import Rule
from rlhf_engine.checks.supervised import REWARD_MODEL_RULES
from rlhf_engine.config import RMConfig
from rlhf_engine.data.api import load_demonstrations
from rlhf_engine.data.examples import ComparisonGroup, Demonstration
from rlhf_engine.errors import ConfigError
from rlhf_engine.generation import generate_rollout
from rlhf_engine.models import compute_precision, load_policy
from rlhf_engine.order import steps_in
from rlhf_engine.ranks import check_divisible
from rlhf_engine.reward_modeling import (
    RewardModelState,
    bootstrap_weights,
    centring_offsets,
    head_scores_by_group,
    normalising_affine,
    reward_model_update,
)
from rlhf_engine.rollout import Rollout, in_micro_batches
from rlhf_engine.scalar_heads import HeadShape
from rlhf_engine.scalar_models import is_reward_model, load_scalar_model, response_head_scores
from rlhf_engine.shares import of_all_groups, of_all_rows, responses_of_all
from rlhf_plugins.comparison_trainer import SAMPLING_ROWS, ComparisonTrainer


class RewardModelTrainer(ComparisonTrainer):
    """One step is one optimizer step on `batch_size` comparison groups."""

    config: RMConfig
    roles = ("model",)

    def prepare(self) -> None:
        config = self.config
        _check(config)
        self.tokenizer = self.load_tokenizer(config.data)
        self.load_comparisons()
        shape = HeadShape(config.head, config.pooling, config.heads)
        reward_model = load_scalar_model(
            config.model, self.tokenizer, self.loading_device, head_init=config.head_init, head_shape=shape
        )
        # Comparisons are about raw scores: an earlier reward model goes on with those it had before it was normalised.
        reward_model.set_affine(1.0, 0.0)
        if config.lora:
            add_adapter(reward_model, config.lora)
        self.lay_out(model=reward_model)
        self.total_steps = steps_in(len(self.groups), config.batch_size, config.epochs, config.max_steps)
        check_divisible(config.batch_size, self.ranks, "batch_size")
        optimizer = self.new_optimizer(reward_model.named_parameters(), self.total_steps)
        self.state = RewardModelState(reward_model, optimizer, ranks=self.ranks)
        self.models, self.optimizers = {"model": reward_model}, {"model": optimizer}

    def sft_policy(self) -> PreTrainedModel:
        config = self.config
        if config.sft_model.path:
            return load_policy(config.sft_model, self.tokenizer, self.device, key="sft_model")
        return load_policy(config.model, self.tokenizer, self.device)

    def light_rules(self) -> Sequence[Rule]:
        return REWARD_MODEL_RULES

    def update(self) -> dict[str, float]:
        config = self.config
        metrics = reward_model_update(
            self.state,
            self.next_groups(),
            micro_batch_size=config.micro_batch_size,
            compute=config.precision.compute,
            hooks=self.run,
            weights=bootstrap_weights(self.next_rows(), config.heads, config.seed),
        )
        figures = {
            "loss/pairwise": metrics.loss,
            "accuracy/train": metrics.accuracy,
            "reward/score_mean": metrics.score_mean,
            "reward/score_std": metrics.score_std,
            "optimizer/grad_norm": metrics.grad_norm,
            "optimizer/lr": metrics.lr,
            "throughput/pairs_per_second|rate": metrics.pairs,
        }
        if config.heads > 1:
            figures["reward/margin_disagreement"] = metrics.margin_disagreement
        if self.held_out and config.eval_every and (self.steps_done + 1) % config.eval_every == 0:
            figures["accuracy/valid"] = self.accuracies()["accuracy/valid"]
        return figures

    def accuracies(self) -> dict[str, float]:
        """Held-out accuracy of the scores."""
        return self.held_out_accuracies(self.held_out_scores())

    def held_out_scores(self) -> list[list[float]]:
        """One score for each response of each held-out group."""

        def of_groups(own: list[ComparisonGroup]) -> list[torch.Tensor]:
            def score(rows: int) -> list[torch.Tensor]:
                return head_scores_by_group(
                    self.state.reward_model, own, rows, compute=self.config.precision.compute, hooks=self.run
                )

            return self.backoff.attempt("held-out accuracy", self.config.micro_batch_size, score, self.run)

        with self.run.phase("held-out accuracy"):
            by_head = of_all_groups(self.ranks, self.held_out, of_groups)
        return [scores.mean(dim=-1).tolist() for scores in by_head]

    def finish(self) -> None:
        """Normalises the scores as configured, and records the held-out accuracy and range of scores."""
        with self.guarded():
            raw_scores, score_norm = self.scores_to_normalise(), self.config.score_norm
            gain, bias = normalising_affine(raw_scores.mean(dim=-1), score_norm)
            self.state.reward_model.set_affine(
                gain, bias, head_offsets=centring_offsets(raw_scores), score_norm=score_norm
            )
            scores = self.held_out_scores() if self.held_out else []
            self.state.reward_model.keep_score_range([score for group in scores for score in group])
            result = self.held_out_accuracies(scores) if self.held_out else {}
        self.run.result("reward_model", result | {"score_gain": gain, "score_bias": bias})

    def scores_to_normalise(self) -> torch.Tensor:
        """Every head's raw scores [N, n] of the references, or of the SFT policy's samples, as `score_norm` says."""
        config = self.config
        if config.score_norm == "none":
            return torch.zeros(1, config.heads)
        self.state.reward_model.set_affine(1.0, 0.0)
        data = load_demonstrations(config.norm_data, self.tokenizer, hooks=self.run)
        rows = [data[i] for i in range(min(config.norm_rows, len(data)))]
        with self.run.phase("normalise"), torch.no_grad():
            rollout = self.references(rows) if config.score_norm == "bias_on_references" else self.samples(rows)
            return self.head_scores(rollout)

    def head_scores(self, rollout: Rollout) -> torch.Tensor:
        """Every head's scores [N, n]."""

        def of_rows(part: Rollout) -> tuple[torch.Tensor, ...]:
            return response_head_scores(self.state.reward_model, part).unbind(dim=-1)

        def of_share(own: list[int]) -> torch.Tensor:
            share = rollout.picked(torch.tensor(own, device=self.device))

            def in_pieces(rows: int) -> torch.Tensor:
                return torch.stack(in_micro_batches(of_rows, share, rows, self.run), dim=-1)

            return self.backoff.attempt("scores", self.config.micro_batch_size, in_pieces, self.run)

        with compute_precision(self.device, self.config.precision.compute):
            return of_all_rows(self.ranks, rollout.lengths, of_share).cpu()

    def references(self, rows: Sequence[Demonstration]) -> Rollout:
        return Rollout.of_texts(
            [row.prompt.tokens for row in rows],
            [row.response_tokens for row in rows],
            eos_id=self.tokenizer.eos_token_id,
            pad_id=self.tokenizer.pad_token_id,
            device=self.device,
        )

    def samples(self, rows: Sequence[Demonstration]) -> Rollout:
        policy, prompts = self.sft_policy(), [row.prompt.tokens for row in rows]

        def answers(own: list[int]) -> Rollout:
            def sample(batch_size: int) -> Rollout:
                return generate_rollout(
                    policy,
                    [prompts[row] for row in own],
                    episodes=own,
                    seed=self.config.seed,
                    response_tokens=self.config.norm_data.max_response_tokens,
                    temperature=self.config.world.temperature,
                    eos_id=self.tokenizer.eos_token_id,
                    pad_id=self.tokenizer.pad_token_id,
                    batch_size=batch_size,
                    hooks=self.run,
                )

            return self.backoff.attempt("samples", SAMPLING_ROWS, sample, self.run)

        return responses_of_all(self.ranks, prompts, self.tokenizer.pad_token_id, answers)


def _check(config: RMConfig) -> None:
    if not config.sft_model.path and is_reward_model(config.model, "model"):
        raise ConfigError(
            f"rm.sft_model.path: {config.model.path!r} is a reward model already, and writes nothing; name the SFT "
            "policy, whose samples are compared and normalise the scores"
        )
    if config.heads > 1 and config.score_norm == "none":
        raise ConfigError(
            f"rm.score_norm: comparisons leave the zero of each of {config.heads} heads free, so their disagreement "
            "means nothing until they are centred; use bias_on_references or affine_on_sft_samples"
        )
