"""Next-token training on packed documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from rlhf_engine.checks.rules import Rule
from rlhf_engine.checks.supervised import LANGUAGE_MODEL_RULES, share_of_uniform
from rlhf_engine.config import PretrainConfig
from rlhf_engine.data.api import load_documents
from rlhf_engine.models import lm_head_weight, load_policy
from rlhf_engine.order import shuffled_batch, steps_in
from rlhf_engine.ranks import check_divisible
from rlhf_engine.sft import SFTState, nats_per_token, packed_text_batch, row_losses, sft_update
from rlhf_engine.shares import of_all_rows
from rlhf_plugins.engine_trainer import EngineTrainer


class PretrainTrainer(EngineTrainer):
    """One step is one optimizer step on `batch_size` packed sequences."""

    config: PretrainConfig
    roles = ("model",)

    def prepare(self) -> None:
        config = self.config
        self.tokenizer = self.load_tokenizer(config.data)
        self.sequences = self.keep_skipped(
            load_documents(config.data, self.tokenizer, config.sequence_tokens, hooks=self.run), "documents"
        )
        policy = load_policy(config.model, self.tokenizer, self.loading_device)
        self.lay_out(model=policy)
        self.total_steps = steps_in(len(self.sequences), config.batch_size, config.epochs, config.max_steps)
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
        rows = shuffled_batch(len(self.sequences), config.batch_size, self.steps_done, config.seed)
        batch = packed_text_batch([self.sequences[row] for row in rows], self.device)
        metrics = sft_update(
            self.state,
            batch,
            micro_batch_size=config.micro_batch_size,
            compute=config.precision.compute,
            hooks=self.run,
        )
        return {
            "loss/nats_per_token": metrics.loss,
            "optimizer/grad_norm": metrics.grad_norm,
            "optimizer/lr": metrics.lr,
            "throughput/tokens_per_second|rate": metrics.tokens,
        }

    def finish(self) -> None:
        """The held-out loss, where there is held-out data."""
        config = self.config
        if not config.eval_data.source:
            return
        with self.guarded():
            sequences = load_documents(config.eval_data, self.tokenizer, config.sequence_tokens, hooks=self.run)

            def of_rows(own: list[int]) -> torch.Tensor:
                size = config.micro_batch_size
                pieces = (own[start : start + size] for start in range(0, len(own), size))
                batches = (packed_text_batch([sequences[i] for i in rows], self.device) for rows in pieces)
                return row_losses(self.state.policy, batches, compute=config.precision.compute, hooks=self.run)

            loss = nats_per_token(of_all_rows(self.ranks, [config.sequence_tokens] * len(sequences), of_rows))
        self.run.result("held_out", {"loss/valid_nats_per_token": loss, "sequences": len(sequences)})
