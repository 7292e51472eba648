"""Reward-model training, held-out accuracy, and normalisation at the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import torch
from transformers import PreTrainedModel

from rlhf_engine.config import DataConfig, RMConfig, WorldComparisonConfig
from rlhf_engine.data.api import comparison_groups_from_records, load_comparisons, load_demonstrations
from rlhf_engine.data.examples import ComparisonGroup, Demonstration
from rlhf_engine.data.world import Post, gold_score
from rlhf_engine.data.world_comparisons import label_world_comparisons
from rlhf_engine.generation import generate_rollout
from rlhf_engine.models import compute_precision, load_policy
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.order import shuffled_batch, steps_in
from rlhf_engine.reward_modeling import (
    RewardModelState,
    normalising_affine,
    pair_accuracy,
    reward_model_update,
    score_groups,
)
from rlhf_engine.rollout import Rollout, in_micro_batches
from rlhf_engine.scalar_models import load_scalar_model, response_scores
from rlhf_plugins.engine_trainer import EngineTrainer, translated_errors

WORLD = "world"
SAMPLING_ROWS = 128


class RewardModelTrainer(EngineTrainer):
    """One step is one optimizer step on `batch_size` comparison groups."""

    config: RMConfig

    def prepare(self) -> None:
        config = self.config
        self.tokenizer = self.load_tokenizer(config.data)
        self.groups = self.comparisons(config.data, "comparisons", config.world)
        self.held_out: Sequence[ComparisonGroup] = []
        if config.eval_data.source:
            world = msgspec.structs.replace(config.world, careful=1, edited=0, sloppy=0)
            self.held_out = self.comparisons(config.eval_data, "held-out comparisons", world)
        reward_model = load_scalar_model(config.model, self.tokenizer, self.device, head_init=config.head_init)
        self.total_steps = steps_in(len(self.groups), config.batch_size, config.epochs, config.max_steps)
        optimizer = ScheduledAdamW(reward_model.named_parameters(), config.optimizer, self.total_steps)
        self.state = RewardModelState(reward_model, optimizer)
        self.models, self.optimizers = {"model": reward_model}, {"model": optimizer}

    def sft_policy(self) -> PreTrainedModel:
        """The policy that the reward model starts from; it also writes the samples that are compared."""
        return load_policy(self.config.model, self.tokenizer, self.device)

    def comparisons(self, data: DataConfig, name: str, world: WorldComparisonConfig) -> Sequence[ComparisonGroup]:
        if data.source == [WORLD]:
            return comparison_groups_from_records(self.world_records(data, name, world), data, self.tokenizer)
        groups = load_comparisons(data, self.tokenizer, hooks=self.run, group_by_prompt=self.config.group_by_prompt)
        kept: Sequence[ComparisonGroup] = self.keep_skipped(groups, name)
        return kept

    def world_records(self, data: DataConfig, name: str, world: WorldComparisonConfig) -> list[dict[str, Any]]:
        """Labelled once, then read back from the run's own folder by a resumed run."""
        file = self.run.directory / "data" / f"{name.replace(' ', '-')}.json"
        if file.exists():
            records: list[dict[str, Any]] = json.loads(file.read_text())
            return records
        with self.run.phase("label comparisons"):
            records = label_world_comparisons(
                self.sft_policy(),
                self.tokenizer,
                data,
                world,
                batch_size=SAMPLING_ROWS,
                hooks=self.run,
            )
        file.parent.mkdir(mode=0o700, exist_ok=True)
        aside = file.with_suffix(".tmp")
        aside.write_text(json.dumps(records))
        aside.rename(file)
        return records

    def update(self) -> dict[str, float]:
        config = self.config
        rows = shuffled_batch(len(self.groups), config.batch_size, self.steps_done, config.seed)
        metrics = reward_model_update(
            self.state,
            [self.groups[row] for row in rows],
            micro_batch_size=config.micro_batch_size,
            compute=config.precision.compute,
            hooks=self.run,
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
        if self.held_out and config.eval_every and (self.steps_done + 1) % config.eval_every == 0:
            figures["accuracy/valid"] = self.accuracies()["accuracy/valid"]
        return figures

    def accuracies(self) -> dict[str, float]:
        """Held-out accuracy against the labels, and in the built-in world against gold (pairs with different gold)."""
        with self.run.phase("held-out accuracy"):
            scores = score_groups(
                self.state.reward_model,
                self.held_out,
                micro_batch_size=self.config.micro_batch_size,
                compute=self.config.precision.compute,
                hooks=self.run,
            )
        labelled = [
            (group_scores[chosen], group_scores[rejected])
            for group, group_scores in zip(self.held_out, scores, strict=True)
            for chosen, rejected in group.pairs
        ]
        figures = {"accuracy/valid": _accuracy(labelled), "pairs": float(len(labelled))}
        by_gold = [pair for group, row in zip(self.held_out, scores, strict=True) for pair in _gold_pairs(group, row)]
        return figures | ({"accuracy/gold": _accuracy(by_gold)} if by_gold else {})

    def finish(self) -> None:
        """Normalises the scores as configured, and records the held-out accuracy."""
        with translated_errors():
            raw_scores = self.scores_to_normalise()
            gain, bias = normalising_affine(raw_scores, self.config.score_norm)
            self.state.reward_model.set_affine(gain, bias)
            result = self.accuracies() if self.held_out else {}
        self.run.result("reward_model", result | {"score_gain": gain, "score_bias": bias})

    def scores_to_normalise(self) -> torch.Tensor:
        """Raw scores of the references, or of the SFT policy's samples, whichever `score_norm` speaks of."""
        config = self.config
        if config.score_norm == "none":
            return torch.zeros(1)
        self.state.reward_model.set_affine(1.0, 0.0)
        data = load_demonstrations(config.norm_data, self.tokenizer, hooks=self.run)
        rows = [data[i] for i in range(min(config.norm_rows, len(data)))]
        with self.run.phase("normalise"), torch.no_grad():
            rollout = self.references(rows) if config.score_norm == "bias_on_references" else self.samples(rows)
            with compute_precision(self.device, config.precision.compute):
                (scores,) = in_micro_batches(
                    lambda part: (response_scores(self.state.reward_model, part),),
                    rollout,
                    config.micro_batch_size,
                    self.run,
                )
        return scores.cpu()

    def references(self, rows: Sequence[Demonstration]) -> Rollout:
        return Rollout.of_texts(
            [row.prompt.tokens for row in rows],
            [row.response_tokens for row in rows],
            eos_id=self.tokenizer.eos_token_id,
            pad_id=self.tokenizer.pad_token_id,
            device=self.device,
        )

    def samples(self, rows: Sequence[Demonstration]) -> Rollout:
        return generate_rollout(
            self.sft_policy(),
            [row.prompt.tokens for row in rows],
            episodes=range(len(rows)),
            seed=self.config.seed,
            response_tokens=self.config.norm_data.max_response_tokens,
            temperature=self.config.world.temperature,
            eos_id=self.tokenizer.eos_token_id,
            pad_id=self.tokenizer.pad_token_id,
            batch_size=SAMPLING_ROWS,
            hooks=self.run,
        )


def _accuracy(pairs: Sequence[tuple[float, float]]) -> float:
    scores = torch.tensor(pairs, dtype=torch.float64).reshape(-1, 2)
    return pair_accuracy(scores[:, 0], scores[:, 1])


def _gold_pairs(group: ComparisonGroup, scores: Sequence[float]) -> list[tuple[float, float]]:
    """Scores of (better by gold, worse by gold) for each labelled pair of different gold; none outside the world."""
    if "latents" not in group.prompt.record:
        return []
    post = Post.from_record(group.prompt.record)
    gold = [gold_score(post, response) for response in group.responses]
    ordered = [(a, b) if gold[a] > gold[b] else (b, a) for a, b in group.pairs if gold[a] != gold[b]]
    return [(scores[better], scores[worse]) for better, worse in ordered]
