"""Weights go to a checkpoint and back into a live model, whatever a family's files call them."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch

from benchmarks.tiny_models import CPU, tokenizer
from rlhf_engine.checkpoint import load_weights, save_weights
from rlhf_engine.config import Architecture, InitConfig, ModelConfig
from rlhf_engine.models import load_policy
from rlhf_engine.scalar_models import load_scalar_model

VOCABULARY = 40
LOADERS = {"policy": load_policy, "reward model": load_scalar_model}


@pytest.mark.parametrize("role", LOADERS)
@pytest.mark.parametrize("from_files", [False, True])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_a_checkpoint_fills_another_model_of_its_family(
    tmp_path: Path, architecture: Architecture, tied: bool, from_files: bool, role: str
) -> None:
    words = tokenizer(VOCABULARY)
    sizes = InitConfig(
        architecture=architecture, hidden_size=16, layers=1, heads=2, max_positions=16, tie_embeddings=tied
    )
    config = ModelConfig(init=sizes)
    if from_files:
        save_weights(load_policy(config, words, CPU), words, tmp_path / "start")
        config = ModelConfig(path=str(tmp_path / "start"))
    trained, resumed = (LOADERS[role](config, words, CPU) for _ in range(2))
    with torch.no_grad():
        for number, parameter in enumerate(trained.parameters()):
            parameter.fill_(number + 1.0)
    save_weights(trained, words, tmp_path / "checkpoint")
    load_weights(resumed, tmp_path / "checkpoint")
    left, right = trained.state_dict(), resumed.state_dict()
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
