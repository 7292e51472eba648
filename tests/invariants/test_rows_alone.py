"""31, 35: a row is treated as if it were alone; PAD is not EOS, and EOS is attended, labelled and trained."""

from pathlib import Path
from typing import Any

import pytest
import torch

from decoding import TOKENS, rolled_out
from engine_models import ARCHITECTURES, policy_of, random_rollout, word_tokenizer
from plain_forward import one_by_one_logprobs, one_by_one_values
from rlhf_engine import logprobs, losses, scalar_models
from rlhf_engine.config import Architecture, TokenizerConfig
from rlhf_engine.data.formatting import response_tokens
from rlhf_engine.data.tokenizers import load_tokenizer
from rlhf_engine.errors import ConfigError
from rlhf_engine.rollout import Rollout
from small_ppo import CPU, EOS, PAD, new_experience, new_policy, new_scalar_model, new_state


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_31_a_row_in_a_batch_is_the_row_alone(architecture: Architecture) -> None:
    policy, scalar, rows = new_policy(architecture), new_scalar_model(architecture), random_rollout(7)
    ours = logprobs.response_logprobs(policy, rows), scalar_models.response_values(scalar, rows)
    alone = one_by_one_logprobs(policy, rows, 1.0), one_by_one_values(scalar, rows)
    for together, pieces in zip(ours, alone, strict=True):
        assert float((together[rows.response_mask] - torch.cat(pieces)).abs().max()) <= 1e-5
    scores = scalar_models.response_scores(scalar, rows)
    for row in range(len(rows)):
        single = scalar_models.response_scores(scalar, rows.rows(torch.tensor([row])))
        assert abs(float(single - scores[row])) <= 1e-5


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_31_permuted_rows_give_permuted_results(architecture: Architecture) -> None:
    policy, scalar, rows = new_policy(architecture), new_scalar_model(architecture), random_rollout(7)
    order = torch.tensor([4, 0, 6, 2, 5, 1, 3])
    permuted = rows.rows(order)
    for forward, model in (
        (logprobs.response_logprobs, policy),
        (scalar_models.response_values, scalar),
        (scalar_models.response_scores, scalar),
    ):
        assert float((forward(model, permuted) - forward(model, rows)[order]).abs().max()) <= 1e-5


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_31_batch_size_order_and_company_change_no_sampled_token(architecture: Architecture) -> None:
    policy = new_policy(architecture)
    together = rolled_out(policy)
    for size in (1, 3):
        assert torch.equal(rolled_out(policy, batch_size=size).response_tokens, together.response_tokens)
    order = [3, 0, 7, 4, 1, 6, 2, 5]
    shuffled = rolled_out(policy, [TOKENS[i] for i in order], episodes=order)
    assert torch.equal(shuffled.response_tokens, together.response_tokens[order])
    assert not torch.equal(rolled_out(policy, seed=4).response_tokens, together.response_tokens)


def test_31_minibatches_carry_each_episode_whole() -> None:
    """Every row's tensors stay together through shuffling and cutting."""
    experience = new_experience(new_state())
    seen = []
    for minibatch in experience.shuffled_minibatches(2, epochs=1, seed=5):
        for micro_batch in minibatch.micro_batches(3):
            for row in range(len(micro_batch)):
                mask = micro_batch.response_mask[row]
                original = torch.isclose(experience.scores, micro_batch.scores[row]).nonzero().flatten().tolist()
                matches = [
                    i
                    for i in original
                    if torch.equal(experience.logprobs[i][experience.response_mask[i]], micro_batch.logprobs[row][mask])
                    and torch.equal(experience.returns[i][experience.response_mask[i]], micro_batch.returns[row][mask])
                    and torch.equal(
                        experience.rollout.tokens[i][experience.rollout.mask[i]],
                        micro_batch.rollout.tokens[row][micro_batch.rollout.mask[row]],
                    )
                ]
                assert len(matches) == 1
                seen += matches
    assert sorted(seen) == list(range(len(experience)))


def test_35_pad_is_never_eos(tmp_path: Path) -> None:
    word_tokenizer().save_pretrained(tmp_path / "plain")
    with pytest.raises(ConfigError, match=r"pad_token: '<eos>' is the end token"):
        load_tokenizer(TokenizerConfig(pad_token="<eos>"), str(tmp_path / "plain"), list)
    clash: Any = load_tokenizer(TokenizerConfig(), str(tmp_path / "plain"), list)
    clash.pad_token = clash.eos_token
    clash.save_pretrained(tmp_path / "clash")
    mended = load_tokenizer(TokenizerConfig(), str(tmp_path / "clash"), list)
    assert mended.pad_token_id != mended.eos_token_id
    assert mended.eos_token_id == EOS


def test_35_a_demonstration_ends_with_eos_inside_its_masks() -> None:
    tokens = response_tokens("w1 w2", word_tokenizer(), 8)
    rows = Rollout.of_texts([[9, 8], [7]], [tokens, [*tokens[:-1], 5, 6, EOS]], eos_id=EOS, pad_id=PAD, device=CPU)
    assert tokens[-1] == EOS
    is_eos = rows.response_tokens == EOS
    assert is_eos.sum(dim=1).tolist() == [1, 1]
    assert bool(rows.response_mask[is_eos].all())
    assert bool(rows.mask[:, rows.prompt_tokens.shape[1] :][is_eos].all())
    assert rows.ended.tolist() == [True, True]


def test_35_eos_is_labelled_and_trained() -> None:
    """The loss has its term, and descending it makes EOS likelier after the response."""
    policy = policy_of(word_tokenizer())
    with_eos, without = (
        Rollout.of_texts([[9, 8]], [response], eos_id=EOS, pad_id=PAD, device=CPU) for response in ([5, 6, EOS], [5, 6])
    )
    before = logprobs.response_logprobs(policy, with_eos)
    loss = losses.next_token_loss(before, with_eos.response_mask)
    rest = losses.next_token_loss(logprobs.response_logprobs(policy, without), without.response_mask)
    assert abs(float((3 * loss - 2 * rest + before[0, 2]).detach())) <= 1e-5
    (-before[0, 2]).backward()
    eos_row = policy.get_output_embeddings().weight.grad[EOS]
    assert float(eos_row.abs().max()) > 0.0
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter -= 1e-3 * parameter.grad
        assert float(logprobs.response_logprobs(policy, with_eos)[0, 2] - before[0, 2]) > 0.0


@torch.no_grad()
def test_35_eos_is_attended() -> None:
    """The score is read at EOS, and another token there gives another score."""
    scalar = new_scalar_model()
    scores = [
        float(
            scalar_models.response_scores(
                scalar, Rollout.of_texts([[9, 8]], [response], eos_id=EOS, pad_id=PAD, device=CPU)
            )
        )
        for response in ([5, 6, EOS], [5, 6, 7], [5, 6])
    ]
    assert len({round(score, 3) for score in scores}) == 3
