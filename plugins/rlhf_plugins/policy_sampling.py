"""What a trained policy writes: for the record, and when somebody asks in the middle of training."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedModel

from rlhf_engine.data.examples import Prompt
from rlhf_engine.data.formatting import fit_prompt
from rlhf_engine.generation import generate_rollout, response_texts
from rlhf_engine.hooks import Hooks, NoHooks
from rlhf_engine.models import compute_precision
from rlhf_engine.ranks import ALONE, Ranks
from rlhf_engine.rollout import Rollout
from rlhf_engine.shares import responses_of_all
from rlhf_plugins.engine_trainer import EngineTrainer
from rlhf_sdk.trainer import SampledResponse, UserError

OWN_PROMPTS = 4


class PolicySampler(EngineTrainer):
    """A trainer whose policy can be sampled. A subclass fills in which, on what, and how long the responses are."""

    def policy_to_sample(self) -> PreTrainedModel:
        raise NotImplementedError

    def prompts_to_sample(self, count: int) -> list[Prompt]:
        """Those that are answered when none are given: the first few, fewer where there are fewer."""
        raise NotImplementedError

    def response_tokens(self) -> int:
        """Longest response in tokens."""
        raise NotImplementedError

    def sampling_temperature(self) -> float:
        return float(self.config.temperature)

    def responses_to(self, prompts: Sequence[Prompt], *, rows: int, hooks: Hooks, ranks: Ranks = ALONE) -> Rollout:
        """The policy's responses, at most `rows` at a time; the noise is the same each time."""
        tokens, pad_id = [prompt.tokens for prompt in prompts], self.tokenizer.pad_token_id

        def answers(own: list[int]) -> Rollout:
            def sample(batch_size: int) -> Rollout:
                return generate_rollout(
                    self.policy_to_sample(),
                    [tokens[row] for row in own],
                    episodes=own,
                    seed=self.config.seed,
                    response_tokens=self.response_tokens(),
                    temperature=self.sampling_temperature(),
                    eos_id=self.tokenizer.eos_token_id,
                    pad_id=pad_id,
                    batch_size=batch_size,
                    hooks=hooks,
                )

            return self.backoff.attempt("samples", min(rows, len(own)), sample, hooks)

        with compute_precision(self.device, self.config.precision.compute):
            return responses_of_all(ranks, tokens, pad_id, answers)

    def sample(self, prompts: list[str]) -> list[SampledResponse]:
        """Keyed noise and no hooks: no random state moves, and nothing waits here, neither for other ranks. A prompt is
        read as it is given.

        Raises `UserError` for a prompt without tokens, or where no prompt is given and there are none.
        """
        asked = [self._asked(text) for text in prompts] or self.prompts_to_sample(OWN_PROMPTS)
        if not asked:
            raise UserError("no prompts: this run has no held-out ones, so give some")
        rollout = self.responses_to(asked, rows=OWN_PROMPTS, hooks=NoHooks())
        texts, ended = response_texts(rollout, self.tokenizer), rollout.ended.tolist()
        return [
            SampledResponse(
                prompt=prompt.text,
                response=texts[row],
                reference=prompt.reference,
                ended=ended[row],
                metrics={"response_tokens": float(rollout.response_lengths[row])},
            )
            for row, prompt in enumerate(asked)
        ]

    def _asked(self, text: str) -> Prompt:
        kept, tokens = fit_prompt({"prompt": text}, "plain", self.tokenizer, self.config.data.max_prompt_tokens)
        if not tokens:
            raise UserError(f"prompt {text!r} has no tokens")
        return Prompt("asked", kept, tokens)
