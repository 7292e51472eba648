"""Distillation as a run: a frozen teacher, a student, and held-out prompts on which both write."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedModel

from rlhf_engine.config import DistilConfig
from rlhf_engine.data.api import load_prompts
from rlhf_engine.data.examples import Prompt
from rlhf_engine.data.tokenizers import check_same_tokens, load_tokenizer
from rlhf_engine.data.world import Post, gold_score
from rlhf_engine.distillation import DistilState, distil_update, kl_to_teacher, sample
from rlhf_engine.errors import ConfigError
from rlhf_engine.generation import response_texts
from rlhf_engine.models import lm_head_weight, load_policy
from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.order import shuffled_batch, steps_in
from rlhf_engine.rollout import Rollout
from rlhf_plugins.policy_sampling import PolicySampler


class DistilTrainer(PolicySampler):
    """One step is one optimizer step on new samples of the teacher."""

    config: DistilConfig
    roles = ("model",)

    def prepare(self) -> None:
        config = self.config
        if not config.teacher.path:
            raise ConfigError("teacher.path: none given; name the policy to imitate: a directory, a hub id or run:ID")
        self.tokenizer = load_tokenizer(config.tokenizer, config.teacher.path, tuple)
        check_same_tokens(self.tokenizer, config.teacher.path, "teacher.path")
        if config.model.path:
            check_same_tokens(self.tokenizer, config.model.path, "model.path")
        self.prompts = self.keep_skipped(load_prompts(config.data, self.tokenizer, hooks=self.run), "prompts")
        self.held_out: list[Prompt] = []
        if config.eval_data.source:
            held_out = load_prompts(config.eval_data, self.tokenizer, hooks=self.run)
            self.held_out = list(self.keep_skipped(held_out, "held-out prompts"))
        self.load_state()

    def load_state(self) -> None:
        """The student, and the teacher, frozen."""
        config = self.config
        teacher = load_policy(config.teacher, self.tokenizer, self.device, key="teacher")
        student = load_policy(config.model, self.tokenizer, self.device)
        rows = len(lm_head_weight(student)), len(lm_head_weight(teacher))
        if config.objective == "logits" and rows[0] != rows[1]:
            raise ConfigError(
                f"model: the student has logits for {rows[0]} tokens, the teacher for {rows[1]}, which can't be "
                'compared; use objective = "samples"'
            )
        self.total_steps = steps_in(len(self.prompts), config.batch_size, config.epochs, config.max_steps)
        self.state = DistilState(
            student,
            teacher.eval().requires_grad_(False),
            ScheduledAdamW(student.named_parameters(), config.optimizer, self.total_steps),
            eos_id=self.tokenizer.eos_token_id,
            pad_id=self.tokenizer.pad_token_id,
        )
        self.models, self.optimizers = {"model": student}, {"model": self.state.optimizer}

    def update(self) -> dict[str, float]:
        config = self.config
        rows = shuffled_batch(len(self.prompts), config.batch_size, self.steps_done, config.seed)
        first = self.steps_done * config.batch_size
        prompts = [self.prompts[row] for row in rows]
        metrics = distil_update(self.state, prompts, config, self.run, first_episode=first)
        figures = {
            "loss/nats_per_token": metrics.loss,
            "response/tokens_mean": metrics.sample_tokens,
            "optimizer/grad_norm": metrics.grad_norm,
            "optimizer/lr": metrics.lr,
            "throughput/samples_per_second|rate": float(len(prompts)),
        }
        if config.eval_every and (self.steps_done + 1) % config.eval_every == 0:
            figures |= self.held_out_figures()
        return figures

    def held_out_figures(self) -> dict[str, float]:
        """Of the student's samples: KL to the teacher and, in the built-in world, gold; nothing without prompts."""
        if not self.held_out:
            return {}
        with self.run.phase("held-out samples"):
            samples = self.samples_of(self.state.student)
            kl = kl_to_teacher(self.state, samples, self.config, self.run)
        texts = response_texts(samples, self.tokenizer)
        golds = self.golds(samples)
        for row, prompt in enumerate(self.held_out[: self.config.sample_count]):
            metrics = {"kl/sequence_nats": float(kl[row]), "response_tokens": float(samples.response_lengths[row])}
            self.run.sample(
                tag="held-out",
                index=row,
                prompt=prompt.text,
                response=texts[row],
                reference=prompt.reference,
                ended=bool(samples.ended[row]),
                metrics=metrics | ({"gold": golds[row]} if golds else {}),
            )
        figures = {"kl/sequence_nats": float(kl.mean()), "response/eos_share": float(samples.ended.float().mean())}
        return figures | ({"gold/score_mean": _mean(golds)} if golds else {})

    def samples_of(self, policy: PreTrainedModel) -> Rollout:
        """What student or teacher writes for the held-out prompts, with the same noise."""
        return sample(policy, self.state, self.held_out, self.config, self.run, episodes=range(len(self.held_out)))

    def policy_to_sample(self) -> PreTrainedModel:
        return self.state.student

    def prompts_to_sample(self, count: int) -> list[Prompt]:
        return self.held_out[:count]

    def response_tokens(self) -> int:
        return self.config.response_tokens

    def golds(self, samples: Rollout) -> list[float]:
        """Gold of each sample in the built-in world; empty elsewhere."""
        if "latents" not in self.held_out[0].record:
            return []
        texts = response_texts(samples, self.tokenizer)
        rows = zip(self.held_out, texts, samples.ended.tolist(), strict=True)
        return [gold_score(Post.from_record(prompt.record), text, ended=ended) for prompt, text, ended in rows]

    def finish(self) -> None:
        """Student beside teacher on the held-out prompts."""
        with self.guarded():
            figures = self.held_out_figures()
            if not figures:
                return
            with self.run.phase("held-out samples"):
                golds = self.golds(self.samples_of(self.state.teacher))
        sizes = {
            "parameters": self.state.student.num_parameters(),
            "teacher/parameters": self.state.teacher.num_parameters(),
        }
        self.run.result("student", figures | ({"teacher/gold_mean": _mean(golds)} if golds else {}) | sizes)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
