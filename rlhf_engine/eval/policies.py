"""What policies write to the same prompts, and what is measured on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_engine.backoff import BackOff
from rlhf_engine.config import Precision
from rlhf_engine.data.examples import Prompt
from rlhf_engine.data.formatting import response_tokens
from rlhf_engine.eval.best_of_n import gains_by_n, kl_bound_nats
from rlhf_engine.eval.measures import best_overlaps, copying_measures, gold_scores, overlap_measures
from rlhf_engine.eval.samples import SampleKeeper, Samples, drawn_anew, sampling_key
from rlhf_engine.eval.text_metrics import rouge_l, title_copying
from rlhf_engine.generation import generate_rollout, response_texts
from rlhf_engine.hooks import Hooks
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.models import compute_precision
from rlhf_engine.rewards import sequence_kl
from rlhf_engine.rollout import Rollout, in_micro_batches
from rlhf_engine.scalar_models import ScalarModel, scores_and_disagreements


@dataclass(frozen=True, kw_only=True)
class Responses:
    """One response to each of N prompts; an empty list is a measure that there is none of.

    `tokens` counts EOS; `kl_nats` is log pi - log pi_baseline of the whole response; ROUGE-L is against the reference.
    `text` has more measures of the words by name, each a list [N]. `kl_bound_nats` is there where only an upper bound
    of the KL is known; `sampling_cpu_seconds` is of all N together. `gains_by_n`, of best-of-n alone: for each
    prompt the expected gold (else proxy) of the best of 1, 2, ... n.
    """

    texts: list[str]
    ended: list[bool]
    tokens: list[int]
    gold: list[float]
    proxy: list[float]
    kl_nats: list[float]
    rouge_l: list[float]
    title_copying: list[float]
    text: dict[str, list[float]] = field(default_factory=dict)
    kl_bound_nats: float | None = None
    sampling_cpu_seconds: float | None = None
    gains_by_n: list[list[float]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Everything that is the same for every policy: prompts, noise, and what responses are held against."""

    prompts: Sequence[Prompt]
    tokenizer: PreTrainedTokenizerBase
    baseline: PreTrainedModel
    reward_model: ScalarModel | None
    ensemble_penalty: float
    response_tokens: int
    reference_tokens: int
    batch_size: int
    compute: Precision
    seed: int
    hooks: Hooks
    backoff: BackOff = field(default_factory=BackOff)
    keep: SampleKeeper = drawn_anew

    @property
    def has_references(self) -> bool:
        """Whether every prompt has one."""
        return all(prompt.reference for prompt in self.prompts)

    def references(self) -> Responses:
        """The references as if a policy had written them, cut to `reference_tokens`."""
        rollout = self.reference_rollout()
        return self._measured(rollout, [prompt.reference or "" for prompt in self.prompts], kl_nats=[], rouge=[])

    def reference_rollout(self) -> Rollout:
        """The references as responses."""
        references = [prompt.reference or "" for prompt in self.prompts]
        return self._rollout_of([response_tokens(text, self.tokenizer, self.reference_tokens) for text in references])

    def responses(self, policy: PreTrainedModel, temperature: float) -> Responses:
        """Samples of `policy`; temperature 0 is greedy and has no KL."""
        samples = self.samples(policy, temperature)
        rollout = self._rollout_of(samples.tokens)
        kl_nats = self.kl_nats(policy, rollout).tolist() if temperature > 0 else []
        return replace(self._responses(rollout, kl_nats), sampling_cpu_seconds=samples.cpu_seconds)

    def best_of(self, counts: Sequence[int], temperature: float) -> dict[int, Responses]:
        """For each n of `counts`, of the first n samples of the baseline to each prompt the one scored highest.

        Each n is given its share of the CPU seconds.
        """
        most, count = max(counts), len(self.prompts)
        samples = self.samples(self.baseline, temperature, each=most)
        rollout = self._rollout_of(samples.tokens)
        began = time.process_time()
        scores = torch.tensor(self.proxy_scores(rollout)).view(most, count)
        seconds = samples.cpu_seconds + time.process_time() - began
        golds = gold_scores([*self.prompts] * most, response_texts(rollout, self.tokenizer), rollout.ended.tolist())
        by_n = gains_by_n(scores, torch.tensor(golds).view_as(scores) if golds else scores)
        found = {}
        for n in counts:
            rows = scores[:n].argmax(dim=0) * count + torch.arange(count)
            best = self._responses(rollout.rows(rows.to(rollout.tokens.device)), kl_nats=[])
            found[n] = replace(
                best,
                kl_bound_nats=kl_bound_nats(n),
                sampling_cpu_seconds=seconds * n / most,
                gains_by_n=[gains[:n] for gains in by_n],
            )
        return found

    def samples(self, policy: PreTrainedModel, temperature: float, *, each: int = 1) -> Samples:
        """`each` responses to every prompt, all first ones first: kept ones where there are any."""

        def draw() -> Samples:
            began = time.process_time()
            rollout = self.sampled(policy, temperature, each=each)
            return Samples.of(rollout, time.process_time() - began)

        key = partial(
            sampling_key,
            policy,
            [prompt.tokens for prompt in self.prompts],
            seed=self.seed,
            temperature=temperature,
            response_tokens=self.response_tokens,
            eos_id=self.eos_id,
            compute=self.compute,
        )
        return self.keep(key, each * len(self.prompts), draw)

    def sampled(self, policy: PreTrainedModel, temperature: float, *, each: int = 1) -> Rollout:
        """`each` responses to every prompt, all first ones first; a row has the same noise whatever the policy."""

        def of_batches(batch_size: int) -> Rollout:
            return generate_rollout(
                policy,
                [prompt.tokens for prompt in self.prompts] * each,
                episodes=range(len(self.prompts) * each),
                seed=self.seed,
                response_tokens=self.response_tokens,
                temperature=temperature,
                eos_id=self.eos_id,
                pad_id=self.pad_id,
                batch_size=batch_size,
                hooks=self.hooks,
            )

        with self.hooks.phase("sample"), compute_precision(policy.device, self.compute):
            return self.backoff.attempt("sample", self.batch_size, of_batches, self.hooks)

    def in_pieces(
        self, of_rows: Callable[[Rollout], tuple[Tensor, ...]], rollout: Rollout, *, phase: str
    ) -> tuple[Tensor, ...]:
        """`of_rows` over the rollout, in a phase of its own, with as many rows at a time as memory takes."""

        def attempt(rows: int) -> tuple[Tensor, ...]:
            return in_micro_batches(of_rows, rollout, rows, self.hooks)

        with self.hooks.phase(phase), compute_precision(rollout.tokens.device, self.compute):
            return self.backoff.attempt(phase, self.batch_size, attempt, self.hooks)

    @torch.no_grad()
    def kl_nats(self, policy: PreTrainedModel, rollout: Rollout) -> Tensor:
        """log pi - log pi_baseline of each response in nats, fp32 [B], both at temperature 1.

        Its mean over samples at temperature 1 is an unbiased estimate of KL(pi, pi_baseline) of the sequences.
        """

        def of_rows(rows: Rollout) -> tuple[Tensor]:
            logprobs, baseline = response_logprobs(policy, rows), response_logprobs(self.baseline, rows)
            return (sequence_kl(logprobs, baseline, rows.response_mask),)

        return self.in_pieces(of_rows, rollout, phase="KL")[0]

    @torch.no_grad()
    def proxy_scores(self, rollout: Rollout) -> list[float]:
        """The reward model's score at each last token; empty without a reward model."""
        reward_model = self.reward_model
        if reward_model is None:
            return []

        def of_rows(rows: Rollout) -> tuple[Tensor, Tensor]:
            return scores_and_disagreements(reward_model, rows, ensemble_penalty=self.ensemble_penalty)

        return [float(score) for score in self.in_pieces(of_rows, rollout, phase="score")[0]]

    @property
    def eos_id(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @property
    def pad_id(self) -> int:
        return int(self.tokenizer.pad_token_id)

    def _rollout_of(self, responses: Sequence[list[int]]) -> Rollout:
        """Of N or a multiple of N responses to the N prompts."""
        prompts = [prompt.tokens for prompt in self.prompts] * (len(responses) // len(self.prompts))
        return Rollout.of_texts(prompts, responses, eos_id=self.eos_id, pad_id=self.pad_id, device=self.baseline.device)

    def _responses(self, rollout: Rollout, kl_nats: list[float]) -> Responses:
        texts = response_texts(rollout, self.tokenizer)
        rouge: list[float] = []
        if self.has_references:
            rouge = best_overlaps(rouge_l, self.prompts, texts)
        measured = self._measured(rollout, texts, kl_nats=kl_nats, rouge=rouge)
        return replace(measured, text=measured.text | overlap_measures(self.prompts, texts))

    def _measured(self, rollout: Rollout, texts: list[str], *, kl_nats: list[float], rouge: list[float]) -> Responses:
        ended = rollout.ended.tolist()
        titles = [str(prompt.record.get("title") or "") for prompt in self.prompts]
        copied = [title_copying(title, text) for title, text in zip(titles, texts, strict=True)]
        return Responses(
            texts=texts,
            ended=ended,
            tokens=[int(length) for length in rollout.response_lengths],
            gold=gold_scores(self.prompts, texts, ended),
            proxy=self.proxy_scores(rollout),
            kl_nats=kl_nats,
            rouge_l=rouge,
            title_copying=copied if any(titles) else [],
            text=copying_measures(self.prompts, texts),
        )


def post_of(prompt: Prompt) -> str:
    """What tells a prompt's post from others: rows with the same one are not independent."""
    record = prompt.record
    return str(record.get("post_id") or record.get("post") or prompt.text)
