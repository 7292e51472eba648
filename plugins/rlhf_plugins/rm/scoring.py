"""What a trained reward model says of texts."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from rlhf_engine.config import ModelConfig, RMConfig
from rlhf_engine.data.formatting import fit_prompt, response_tokens
from rlhf_engine.data.tokenizers import load_tokenizer
from rlhf_engine.models import choose_device, compute_precision
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_models import load_scalar_model, response_head_scores
from rlhf_plugins.engine_trainer import translated_errors
from rlhf_sdk.spec import ScoreRequest

ROWS = 32


def score(request: ScoreRequest) -> Iterator[list[float]]:
    """Every head's score of each text, cut as for the model's training; a response that was not cut ends with EOS."""
    config: RMConfig = request.config
    with translated_errors():
        device = choose_device(config.device)
        tokenizer = load_tokenizer(config.tokenizer, request.model, tuple)
        reward_model = load_scalar_model(ModelConfig(path=request.model), tokenizer, device).eval()
        data = config.data
        for start in range(0, len(request.texts), ROWS):
            rows = request.texts[start : start + ROWS]
            prompts = [fit_prompt({"prompt": text}, "plain", tokenizer, data.max_prompt_tokens)[1] for text, _ in rows]
            responses = [response_tokens(text, tokenizer, data.max_response_tokens) for _, text in rows]
            rollout = Rollout.of_texts(
                prompts, responses, eos_id=tokenizer.eos_token_id, pad_id=tokenizer.pad_token_id, device=device
            )
            with torch.no_grad(), compute_precision(device, config.precision.compute):
                yield from response_head_scores(reward_model, rollout).tolist()
