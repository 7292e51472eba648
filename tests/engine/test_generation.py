from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from engine_models import policy_of
from rlhf_engine.decoding.sampler import keyed_uniforms
from rlhf_engine.generation import generate_rollout, response_texts
from rlhf_engine.hooks import NoHooks

PROMPTS = [[5, 6, 7, 8], [9], [10, 11], [12, 13, 14, 15, 16], [17, 18]]


def roll_out(policy: Any, prompts: list[list[int]], **changes: Any) -> Any:
    settings: dict[str, Any] = {
        "episodes": range(len(prompts)),
        "seed": 3,
        "response_tokens": 6,
        "temperature": 1.0,
        "eos_id": 0,
        "pad_id": 1,
        "batch_size": 8,
        "hooks": NoHooks(),
    }
    return generate_rollout(policy, prompts, **(settings | changes))


@given(st.integers(0, 2**31), st.lists(st.integers(0, 10_000), min_size=1, max_size=5, unique=True))
def test_noise_is_keyed_by_episode_and_token(seed: int, episodes: list[int]) -> None:
    noise = keyed_uniforms(seed, episodes, 7)
    assert torch.equal(noise[-1:], keyed_uniforms(seed, episodes[-1:], 7))
    assert torch.equal(noise[:, :3], keyed_uniforms(seed, episodes, 3))
    assert float(noise.min()) >= 0.0
    assert float(noise.max()) < 1.0
    assert len(set(noise.flatten().tolist())) == noise.numel()


def test_noise_is_uniform() -> None:
    noise = keyed_uniforms(9, range(500), 40).flatten()
    counts = torch.histc(noise, bins=20, min=0.0, max=1.0)
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 43.8  # 99.9 % quantile at 19 degrees of freedom


def test_texts_leave_out_the_end_token(tokenizer: Any) -> None:
    rollout = roll_out(policy_of(tokenizer), PROMPTS)
    assert all("<eos>" not in text and "[PAD]" not in text for text in response_texts(rollout, tokenizer))
