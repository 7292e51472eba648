"""Models that several files evaluate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rlhf_engine.config import InitConfig, ModelConfig, TokenizerConfig
from rlhf_engine.data.tokenizers import load_tokenizer
from rlhf_engine.models import load_policy, save_model
from rlhf_engine.scalar_models import load_scalar_model
from small_evaluations import world_texts


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `first`, `second` (policies) and `rm`, with one tokenizer."""
    folder, cpu = tmp_path_factory.mktemp("models"), torch.device("cpu")
    tokenizer = load_tokenizer(TokenizerConfig(train_vocab_size=400, word_level_split=True), "", world_texts)
    init = InitConfig(hidden_size=32, layers=1, heads=2, max_positions=256, initializer_range=0.3)
    for seed, name in enumerate(["first", "second"]):
        torch.manual_seed(seed)
        save_model(load_policy(ModelConfig(init=init), tokenizer, cpu), tokenizer, folder / name)
    torch.manual_seed(2)
    save_model(load_scalar_model(ModelConfig(init=init), tokenizer, cpu), tokenizer, folder / "rm")
    return folder
