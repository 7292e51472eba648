"""DPO, IPO and KTO as runs: policy and reference from the SFT stage, comparisons, held-out accuracy, KL and samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from rlhf_engine.checks.rules import Rule
from rlhf_engine.checks.supervised import PREFERENCE_RULES
from rlhf_engine.config import DPOConfig, IPOConfig, KTOConfig
from rlhf_engine.data.examples import Prompt
from rlhf_engine.data.world import Post, gold_score
from rlhf_engine.errors import ConfigError
from rlhf_engine.generation import response_texts
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.models import compute_precision, load_policy
from rlhf_engine.order import steps_in
from rlhf_engine.preference_training import PreferenceState, implicit_rewards, preference_update
from rlhf_engine.ranks import check_divisible
from rlhf_engine.rewards import sequence_kl
from rlhf_engine.rollout import Rollout, in_micro_batches
from rlhf_engine.shares import of_all_rows
from rlhf_plugins.comparison_trainer import SAMPLING_ROWS, ComparisonTrainer
from rlhf_plugins.policy_sampling import PolicySampler


class PreferenceTrainer(ComparisonTrainer, PolicySampler):
    """One step is one optimizer step on `batch_size` comparison groups."""

    config: DPOConfig | IPOConfig | KTOConfig
    roles = ("model", "ref_model")

    def prepare(self) -> None:
        config = self.config
        if not config.model.path:
            raise ConfigError("model.path: training starts from an SFT policy; give a directory, a hub id or run:ID")
        self.tokenizer = self.load_tokenizer(config.data)
        policy, ref_policy = (load_policy(config.model, self.tokenizer, self.loading_device) for _ in range(2))
        self.ref_policy = ref_policy.eval().requires_grad_(False)
        self.load_comparisons()
        self.lay_out(model=policy, ref_model=self.ref_policy)
        self.total_steps = steps_in(len(self.groups), config.batch_size, config.epochs, config.max_steps)
        check_divisible(config.batch_size, self.ranks, "batch_size")
        optimizer = self.new_optimizer(policy.named_parameters(), self.total_steps)
        self.state = PreferenceState(policy, self.ref_policy, optimizer, ranks=self.ranks)
        self.models, self.optimizers = {"model": policy}, {"model": optimizer}

    def sft_policy(self) -> PreTrainedModel:
        return self.ref_policy

    def light_rules(self) -> Sequence[Rule]:
        return PREFERENCE_RULES

    def update(self) -> dict[str, float]:
        config = self.config
        metrics = preference_update(self.state, self.next_groups(), config, self.run)
        figures = {
            "loss/preference": metrics.loss,
            "accuracy/train": metrics.accuracy,
            "implicit_reward/margin_mean": metrics.margin,
            "implicit_reward/margin_max": metrics.margin_max,
            "implicit_reward/chosen_mean": metrics.chosen_reward,
            "implicit_reward/rejected_mean": metrics.rejected_reward,
            "logprobs/chosen_nats": metrics.chosen_logprob,
            "logprobs/rejected_nats": metrics.rejected_logprob,
            "optimizer/grad_norm": metrics.grad_norm,
            "optimizer/lr": metrics.lr,
            "throughput/pairs_per_second|rate": metrics.pairs,
        }
        if isinstance(config, KTOConfig):
            figures["kl/reference_point_nats"] = metrics.reference_point
        if config.eval_every and (self.steps_done + 1) % config.eval_every == 0:
            figures |= self.held_out_figures()
        return figures

    def held_out_figures(self) -> dict[str, float]:
        """Accuracy of the implicit reward, and what is measured on samples; nothing where no pair is held out."""
        if not self.held_out:
            return {}
        with self.run.phase("held-out accuracy"):
            rewards = implicit_rewards(self.state, self.held_out, self.config, self.run)
        return self.held_out_accuracies(rewards) | (self.sampled_figures() if self.config.kl_samples else {})

    def sampled_figures(self) -> dict[str, float]:
        """KL(pi || pi_ref) in nats per sequence (k1, the mean over samples), and in the built-in world their gold."""
        prompts = self.prompts_to_sample(self.config.kl_samples)
        with self.run.phase("samples"):
            rollout = self.responses_to(prompts, rows=SAMPLING_ROWS, hooks=self.run, ranks=self.ranks)
            kl = self.sequence_kl(rollout)
        texts = response_texts(rollout, self.tokenizer)
        golds = _gold_scores(prompts, texts, rollout)
        self.record_samples(prompts, texts, golds, kl, rollout)
        figures = {
            "kl/sequence_nats": float(kl.mean()),
            "response/tokens_mean": float(rollout.response_lengths.float().mean()),
            "response/eos_share": float(rollout.ended.float().mean()),
        }
        return figures | ({"gold/score_mean": sum(golds) / len(golds)} if golds else {})

    def policy_to_sample(self) -> PreTrainedModel:
        return self.state.policy

    def prompts_to_sample(self, count: int) -> list[Prompt]:
        return [self.held_out[i].prompt for i in range(min(count, len(self.held_out)))]

    def response_tokens(self) -> int:
        return self.config.eval_data.max_response_tokens

    def sampling_temperature(self) -> float:
        """That of the distribution that the loss is about."""
        return 1.0

    @torch.no_grad()
    def sequence_kl(self, rollout: Rollout) -> torch.Tensor:
        """log pi(y|x) - log pi_ref(y|x) in nats per sequence, [B]."""

        def of_rows(rows: Rollout) -> tuple[torch.Tensor]:
            logprobs, reference = response_logprobs(self.state.policy, rows), response_logprobs(self.ref_policy, rows)
            return (sequence_kl(logprobs, reference, rows.response_mask),)

        def of_share(own: list[int]) -> torch.Tensor:
            part = rollout.picked(torch.tensor(own, device=self.device))

            def in_pieces(rows: int) -> torch.Tensor:
                return in_micro_batches(of_rows, part, rows, self.run)[0]

            return self.backoff.attempt("KL", self.config.micro_batch_size, in_pieces, self.run)

        with compute_precision(self.device, self.config.precision.compute):
            return of_all_rows(self.ranks, rollout.lengths, of_share)

    def record_samples(
        self, prompts: list[Prompt], texts: list[str], golds: list[float], kl: torch.Tensor, rollout: Rollout
    ) -> None:
        """The first few of the samples."""
        for row in range(min(self.config.sample_count, len(prompts))):
            metrics = {"kl/sequence_nats": float(kl[row]), "response_tokens": float(rollout.response_lengths[row])}
            self.run.sample(
                tag="held-out",
                index=row,
                prompt=prompts[row].text,
                response=texts[row],
                reference=prompts[row].reference,
                ended=bool(rollout.ended[row]),
                metrics=metrics | ({"gold": golds[row]} if golds else {}),
            )

    def finish(self) -> None:
        """Held-out accuracy, KL and samples of the trained policy."""
        with self.guarded():
            figures = self.held_out_figures()
        if figures:
            self.run.result("preferences", figures)


def _gold_scores(prompts: list[Prompt], texts: list[str], rollout: Rollout) -> list[float]:
    """Gold of each sample in the built-in world; empty elsewhere."""
    if "latents" not in prompts[0].record:
        return []
    rows = zip(prompts, texts, rollout.ended.tolist(), strict=True)
    return [gold_score(Post.from_record(prompt.record), text, ended=ended) for prompt, text, ended in rows]
