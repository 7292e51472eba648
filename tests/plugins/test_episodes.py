"""What is recorded of an episode's tokens, against the experience it comes from."""

import pytest
import torch

from rlhf_engine.experience import Experience, PPOExperience
from rlhf_engine.rollout import Rollout
from rlhf_plugins.episodes import episode_figures, response_tokens, token_values
from rlhf_sdk.events import Sample, decode_sample, encode_line

EOS, PAD = 0, 1
LENGTHS = [3, 1, 4]


@pytest.fixture
def experience() -> PPOExperience:
    torch.manual_seed(0)
    shape = 3, 4
    responses = [[7] * (length - 1) + [EOS] for length in LENGTHS]
    rollout = Rollout.of_texts([[5], [6], [7]], responses, eos_id=EOS, pad_id=PAD, device=torch.device("cpu"))
    mask = rollout.response_mask
    tensors = {name: torch.randn(shape) for name in ("logprobs", "ref_logprobs", "entropies")}
    masked = {name: torch.randn(shape) * mask for name in ("rewards", "advantages", "values", "returns")}
    return PPOExperience(rollout, scores=torch.randn(3), disagreements=torch.zeros(3), **tensors, **masked)


@pytest.mark.parametrize("episode", range(3))
def test_every_token_has_the_experiences_own_numbers(experience: PPOExperience, episode: int) -> None:
    recorded, length = token_values(experience, episode), LENGTHS[episode]
    expected = {
        "kl_nats": (experience.logprobs - experience.ref_logprobs)[episode],
        "reward": experience.rewards[episode],
        "advantage": experience.advantages[episode],
        "value": experience.values[episode],
    }
    assert recorded.keys() == expected.keys()
    for name, row in expected.items():
        assert torch.equal(torch.tensor(recorded[name], dtype=torch.float32), row[:length]), name
    figures = episode_figures(experience, episode)
    assert sum(recorded["kl_nats"]) == pytest.approx(figures["kl/sequence_nats"], abs=1e-6)
    assert figures["response_tokens"] == length == len(response_tokens(experience, episode))


def test_figures_of_tokens_come_back_from_the_file_with_every_number(experience: Experience) -> None:
    values = token_values(experience, 0) | {"odd": [float("inf"), float("-inf"), 0.0]}
    sample = Sample(tag="t", index=0, prompt="p", response="a b", token_ends=[1, 3, 3], token_values=values)
    line = encode_line(sample)
    assert decode_sample(line) == sample
    assert len(line) < 600
