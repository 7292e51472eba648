"""A language model so small that every response can be listed: the exact oracle of the invariants.

With a vocabulary of V tokens and responses of at most R, there are sum of (V - 1)^t for t < R that end with EOS, and
(V - 1)^R that are cut. `all_responses` lists them as a `Rollout` of N rows; a policy's log-probabilities of these rows
[N] are its whole distribution, and expectations over it are finite sums, differentiable ones.

Two kinds of policy: `tabular_policy`, one logit for each (context, token), which can represent any distribution over
responses, and any model of the engine with a vocabulary of a few tokens (`small_tokenizer`, `engine_models.policy_of`).
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import Tensor, nn
from transformers import LlamaConfig, PreTrainedTokenizerFast
from transformers.modeling_outputs import BaseModelOutputWithPast

from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_models import ScalarModel

EOS = 0
PROMPT = [0]
"""One token: the number of the prompt. A tabular model of several prompts knows [0], [1], ..."""

MAX_RESPONSES = 100_000


def small_tokenizer(words: int = 2) -> PreTrainedTokenizerFast:
    """EOS is 0, PAD is 1, and `words` more. PAD has a row of the model's head here, and is a token like any other."""
    vocabulary = {"<eos>": EOS, "[PAD]": 1} | {f"w{i}": i + 2 for i in range(words)}
    backend = Tokenizer(WordLevel(vocabulary))
    backend.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>", pad_token="[PAD]")


def all_responses(vocabulary: int, response_tokens: int, prompt: list[int] = PROMPT) -> Rollout:
    """Every response of at most `response_tokens` to `prompt`, N rows: up to EOS, or cut where none came.

    PAD is `vocabulary`, the first id that no policy can sample.
    """
    words = range(1, vocabulary)
    ended = [[*body, EOS] for length in range(response_tokens) for body in product(words, repeat=length)]
    cut = [list(body) for body in product(words, repeat=response_tokens)]
    responses = ended + cut
    if len(responses) > MAX_RESPONSES:
        raise ValueError(f"{len(responses)} responses are too many to list; at most {MAX_RESPONSES}")
    device = torch.device("cpu")
    return Rollout.of_texts([prompt] * len(responses), responses, eos_id=EOS, pad_id=vocabulary, device=device)


def rows_of(sampled: Rollout, responses: Rollout) -> Tensor:
    """[B] the row of `responses` that each sampled response is."""
    listed = {_key(tokens, mask): row for row, (tokens, mask) in enumerate(_pairs(responses))}
    return torch.tensor([listed[_key(tokens, mask)] for tokens, mask in _pairs(sampled)])


def _pairs(rollout: Rollout) -> list[tuple[Tensor, Tensor]]:
    return list(zip(rollout.response_tokens, rollout.response_mask, strict=True))


def _key(tokens: Tensor, mask: Tensor) -> tuple[int, ...]:
    return tuple(tokens[mask].tolist())


def sequence_logprobs(policy: nn.Module, responses: Rollout, *, temperature: float = 1.0) -> Tensor:
    """log pi(y | x) of each response, [N], with gradient. Over all responses the probabilities add up to 1."""
    return response_logprobs(policy, responses, temperature=temperature).sum(dim=-1)


def expected_reward(logprobs: Tensor, rewards: Tensor) -> Tensor:
    """E[r(y)] for y ~ pi, from log-probabilities and rewards [N] of all responses."""
    return (logprobs.exp() * rewards).sum()


def exact_kl(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """KL(pi || pi_ref) of the sequence distributions in nats, both [N]."""
    return (logprobs.exp() * (logprobs - ref_logprobs)).sum()


def penalised_objective(logprobs: Tensor, ref_logprobs: Tensor, rewards: Tensor, beta: float) -> Tensor:
    """E[r] - beta KL(pi || pi_ref): what RLHF with a KL penalty maximises (Ziegler et al. 2019, equation 2)."""
    return expected_reward(logprobs, rewards) - beta * exact_kl(logprobs, ref_logprobs)


def optimal_logprobs(ref_logprobs: Tensor, rewards: Tensor, beta: float) -> Tensor:
    """log pi*(y) of the maximiser pi* ~ pi_ref exp(r / beta), [N] (Rafailov et al. 2023, equation 4)."""
    return (ref_logprobs + rewards / beta).log_softmax(dim=-1)


def bradley_terry_pairs(strengths: list[int]) -> Tensor:
    """[P, 2] (chosen, rejected) rows: of every two responses each is chosen exactly as often as Bradley-Terry says.

    `strengths` are exp(r), whole numbers, so that all shares are fractions of one common divisor.
    """
    divisor = math.lcm(*(a + b for a in strengths for b in strengths))
    rows = range(len(strengths))
    shares = {(i, j): Fraction(strengths[i], strengths[i] + strengths[j]) for i in rows for j in rows if i != j}
    return torch.tensor([pair for pair, share in shares.items() for _ in range(int(share * divisor))])


def total_variation(logprobs: Tensor, other_logprobs: Tensor) -> float:
    """Half the sum of |p - q| over all responses, in [0, 1]."""
    return 0.5 * float((logprobs.exp() - other_logprobs.exp()).abs().sum())


def exact_gradient(policy: nn.Module, objective: Tensor) -> list[Tensor]:
    """The gradient of an exact objective (a scalar made from `sequence_logprobs`) by each parameter of the policy."""
    return list(torch.autograd.grad(objective, list(policy.parameters())))


class _Contexts(nn.Module):
    """A "transformer" whose hidden state is the one-hot index of everything read so far, [B, T, contexts]."""

    def __init__(self, vocabulary: int, response_tokens: int, prompts: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        sizes = [vocabulary**length for length in range(response_tokens + 1)]
        self.starts = [sum(sizes[:length]) for length in range(len(sizes))]
        self.of_one_prompt = sum(sizes)
        self.count = prompts * self.of_one_prompt

    def forward(
        self, *, input_ids: Tensor, attention_mask: Tensor, past_key_values: Any = None, **_: Any
    ) -> BaseModelOutputWithPast:
        tokens = input_ids
        if past_key_values is not None:
            as_keys = input_ids[:, None, :, None].float()
            tokens = past_key_values.update(as_keys, as_keys, 0)[0][:, 0, :, 0].long()
        one_hot = nn.functional.one_hot(self.indices(tokens, attention_mask.bool()), self.count).float()
        return BaseModelOutputWithPast(last_hidden_state=one_hot[:, -input_ids.shape[1] :])

    def indices(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """[B, T] index of the context after each column; unchanged by columns that `mask` leaves out."""
        prompt, prefix, length = (torch.zeros_like(tokens[:, 0]) for _ in range(3))
        started = torch.zeros_like(mask[:, 0])
        starts, columns = torch.tensor(self.starts), []
        for token, valid in zip(tokens.T, mask.T, strict=True):
            prompt = torch.where(valid & ~started, token, prompt)
            prefix = torch.where(valid & started, prefix * self.vocabulary + token, prefix)
            length = length + (valid & started)
            started = started | valid
            columns.append(prompt * self.of_one_prompt + starts[length] + prefix)
        return torch.stack(columns, dim=1)


class TabularModel(nn.Module):
    """What the engine asks of a transformers model, over a table: `table` [outputs, contexts], one row an output.

    Of a policy the outputs are the vocabulary's logits; of a scalar model there is one (`score`).
    """

    def __init__(self, vocabulary: int, response_tokens: int, outputs: int, prompts: int = 1) -> None:
        super().__init__()
        self.base_model = _Contexts(vocabulary, response_tokens, prompts)
        self.score = nn.Linear(self.base_model.count, outputs, bias=False)
        nn.init.zeros_(self.score.weight)
        self.config = LlamaConfig(
            vocab_size=vocabulary, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4
        )
        self.device = torch.device("cpu")

    @property
    def table(self) -> Tensor:
        return self.score.weight

    def get_output_embeddings(self) -> nn.Linear:
        return self.score


def tabular_policy(vocabulary: int, response_tokens: int, *, prompts: int = 1, spread: float = 0.0) -> TabularModel:
    """A policy with a logit for each (context, token): uniform, or logits drawn from N(0, spread^2)."""
    policy = TabularModel(vocabulary, response_tokens, vocabulary, prompts)
    with torch.no_grad():
        policy.table.normal_(0.0, spread)
    return policy


def tabular_scalar_model(vocabulary: int, response_tokens: int, *, prompts: int = 1) -> ScalarModel:
    """A value or reward model with one number for each context, all 0 at first."""
    return ScalarModel(TabularModel(vocabulary, response_tokens, 1, prompts))


@torch.no_grad()
def set_scores(reward_model: ScalarModel, responses: Rollout, rewards: Tensor) -> None:
    """Makes `response_scores` of the tabular `reward_model` return `rewards` [N] for `responses`, N rows."""
    network: Any = reward_model.network
    finals = network.base_model.indices(responses.tokens, responses.mask)[:, -1]
    network.table[0, finals] = rewards
