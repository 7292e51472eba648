"""Supervised fine-tuning on demonstrations, with held-out loss and samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from transformers import PreTrainedModel

from rlhf_engine.adapters import add_adapter
from rlhf_engine.checks.rules import Rule
from rlhf_engine.checks.supervised import LANGUAGE_MODEL_RULES, share_of_uniform
from rlhf_engine.config import SFTConfig
from rlhf_engine.data.api import load_demonstrations
from rlhf_engine.data.examples import Demonstration, Prompt
from rlhf_engine.generation import response_texts
from rlhf_engine.models import lm_head_weight, load_policy
from rlhf_engine.order import shuffled_batch, steps_in
from rlhf_engine.ranks import check_divisible
from rlhf_engine.rollout import Rollout
from rlhf_engine.sft import SFTState, nats_per_token, row_losses, sft_update
from rlhf_engine.shares import of_all_rows
from rlhf_plugins.policy_sampling import PolicySampler


class SFTTrainer(PolicySampler):
    """One step is one optimizer step on `batch_size` demonstrations."""

    config: SFTConfig
    roles = ("model",)

    def prepare(self) -> None:
        config = self.config
        self.tokenizer = self.load_tokenizer(config.data)
        data = load_demonstrations(config.data, self.tokenizer, hooks=self.run)
        self.demonstrations = self.keep_skipped(data, "demonstrations")
        self.held_out: Sequence[Demonstration] = []
        if config.eval_data.source:
            held_out = load_demonstrations(config.eval_data, self.tokenizer, hooks=self.run)
            self.held_out = self.keep_skipped(held_out, "held-out demonstrations")
        policy = load_policy(config.model, self.tokenizer, self.loading_device)
        if config.lora:
            add_adapter(policy, config.lora)
        self.lay_out(model=policy)
        self.total_steps = steps_in(len(self.demonstrations), config.batch_size, config.epochs, config.max_steps)
        check_divisible(config.batch_size, self.ranks, "batch_size")
        optimizer = self.new_optimizer(policy.named_parameters(), self.total_steps)
        self.state = SFTState(policy, optimizer, ranks=self.ranks)
        self.models, self.optimizers = {"model": policy}, {"model": optimizer}

    def light_rules(self) -> Sequence[Rule]:
        return LANGUAGE_MODEL_RULES

    def light_figures(self, metrics: Mapping[str, float]) -> Mapping[str, float]:
        vocabulary = len(lm_head_weight(self.state.policy))
        return {**metrics, "loss/share_of_uniform": share_of_uniform(metrics["loss/nats_per_token"], vocabulary)}

    def update(self) -> dict[str, float]:
        config = self.config
        rows = shuffled_batch(len(self.demonstrations), config.batch_size, self.steps_done, config.seed)
        metrics = sft_update(
            self.state,
            self.batch([self.demonstrations[row] for row in rows]),
            micro_batch_size=config.micro_batch_size,
            compute=config.precision.compute,
            hooks=self.run,
        )
        figures = {
            "loss/nats_per_token": metrics.loss,
            "optimizer/grad_norm": metrics.grad_norm,
            "optimizer/lr": metrics.lr,
            "throughput/tokens_per_second|rate": metrics.tokens,
        }
        if self.held_out and config.eval_every and (self.steps_done + 1) % config.eval_every == 0:
            figures["loss/valid_nats_per_token"] = self.held_out_loss()
            self.record_samples()
        return figures

    def batch(self, examples: Sequence[Demonstration]) -> Rollout:
        """Padded prompts and responses of some demonstrations."""
        return Rollout.of_texts(
            [example.prompt.tokens for example in examples],
            [example.response_tokens for example in examples],
            eos_id=self.tokenizer.eos_token_id,
            pad_id=self.tokenizer.pad_token_id,
            device=self.device,
        )

    def policy_to_sample(self) -> PreTrainedModel:
        return self.state.policy

    def prompts_to_sample(self, count: int) -> list[Prompt]:
        return [self.held_out[i].prompt for i in range(min(count, len(self.held_out)))]

    def response_tokens(self) -> int:
        return self.config.eval_data.max_response_tokens

    def held_out_loss(self) -> float:
        def of_rows(own: list[int]) -> torch.Tensor:
            def of_batches(size: int) -> torch.Tensor:
                pieces = (own[start : start + size] for start in range(0, len(own), size))
                batches = (self.batch([self.held_out[i] for i in rows]) for rows in pieces)
                return row_losses(self.state.policy, batches, compute=self.config.precision.compute, hooks=self.run)

            return self.backoff.attempt("held-out loss", self.config.micro_batch_size, of_batches, self.run)

        lengths = [self.held_out[i].token_count for i in range(len(self.held_out))]
        with self.run.phase("held-out loss"):
            return nats_per_token(of_all_rows(self.ranks, lengths, of_rows))

    def record_samples(self) -> None:
        """What the policy writes for the first held-out prompts."""
        examples = [self.held_out[i] for i in range(min(self.config.sample_count, len(self.held_out)))]
        if not examples:
            return
        with self.run.phase("samples"):
            rollout = self.responses_to(
                [example.prompt for example in examples],
                rows=self.config.micro_batch_size,
                hooks=self.run,
                ranks=self.ranks,
            )
        texts = response_texts(rollout, self.tokenizer)
        for row, example in enumerate(examples):
            self.run.sample(
                tag="held-out",
                index=row,
                prompt=example.prompt.text,
                response=texts[row],
                reference=example.prompt.reference or example.response,
                ended=bool(rollout.ended[row]),
                metrics={"response_tokens": float(rollout.response_lengths[row])},
            )

    def finish(self) -> None:
        """The held-out loss and samples of the trained policy."""
        if self.held_out:
            with self.guarded():
                loss = self.held_out_loss()
                self.record_samples()
            self.run.result("held_out", {"loss/valid_nats_per_token": loss, "demonstrations": len(self.held_out)})
