"""Closed-form parameter counts against transformers' own models and the published totals."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from rlhf_engine.config import InitConfig, ModelConfig, TokenizerConfig
from rlhf_engine.errors import ConfigError
from rlhf_engine.known_models import KNOWN_MODELS, ModelShape, shape_of

SMALL: dict[str, dict[str, Any]] = {
    "llama": {
        "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2,
        "intermediate_size": 80, "max_position_embeddings": 64, "vocab_size": 101,
    },
    "gpt_neox": {
        "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6, "intermediate_size": 80,
        "max_position_embeddings": 64, "vocab_size": 101,
    },
    "gpt2": {"n_embd": 48, "n_layer": 3, "n_head": 6, "n_inner": 80, "n_positions": 64, "vocab_size": 101},
}  # fmt: skip

PUBLISHED_TOTALS = {
    "EleutherAI/pythia-70m": 70_426_624,
    "EleutherAI/pythia-160m-deduped": 162_322_944,
    "EleutherAI/pythia-410m": 405_334_016,
    "EleutherAI/pythia-1b-deduped": 1_011_781_632,
    "EleutherAI/pythia-1.4b": 1_414_647_808,
    "EleutherAI/pythia-2.8b": 2_775_208_960,
    "EleutherAI/pythia-6.9b": 6_857_302_016,
    "gpt2": 124_439_808,
    "openai-community/gpt2-medium": 354_823_168,
    "openai-community/gpt2-large": 774_030_080,
    "openai-community/gpt2-xl": 1_557_611_200,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "meta-llama/Llama-3.2-3B": 3_212_749_824,
    "TinyLlama/TinyLlama_v1.1": 1_100_048_384,
    "HuggingFaceTB/SmolLM2-135M": 134_515_008,
}
NO_TOKENIZER = TokenizerConfig()


def write_config(folder: Path, family: str, *, tied: bool) -> Any:
    config = AutoConfig.for_model(family, **SMALL[family], tie_word_embeddings=tied)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    return config


def parameter_count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", SMALL)
def test_counts_equal_those_of_real_models(family: str, tied: bool, tmp_path: Path) -> None:
    config = write_config(tmp_path, family, tied=tied)
    config.num_labels = 1
    shape = shape_of(ModelConfig(path=str(tmp_path)), NO_TOKENIZER)
    with torch.device("meta"):
        policy = AutoModelForCausalLM.from_config(config)
        scalar = AutoModelForSequenceClassification.from_config(config)
    policy.tie_weights()
    assert shape.policy_parameters == parameter_count(policy)
    assert shape.scalar_parameters == parameter_count(scalar)


@pytest.mark.parametrize(("name", "total"), PUBLISHED_TOTALS.items())
def test_counts_equal_the_published_totals(name: str, total: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "/nonexistent")
    assert shape_of(ModelConfig(path=name), NO_TOKENIZER).policy_parameters == total


def test_the_hub_cache_is_read_before_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--someone--model"
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    write_config(snapshot, "gpt2", tied=True)
    assert shape_of(ModelConfig(path="someone/model"), NO_TOKENIZER).hidden == 48


def test_shape_from_init_takes_the_vocabulary_from_the_tokenizer(tmp_path: Path) -> None:
    init = ModelConfig(init=InitConfig(hidden_size=64, heads=4, kv_heads=2))
    assert shape_of(init, TokenizerConfig(train_vocab_size=500)).vocabulary == 500
    contents = {"model": {"vocab": {"a": 0, "b": 1}}, "added_tokens": [{"id": 1}, {"id": 2}]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(contents))
    shape = shape_of(init, TokenizerConfig(path=str(tmp_path)))
    assert (shape.vocabulary, shape.kv_width, shape.intermediate) == (3, 32, 256)


@pytest.mark.parametrize("path", ["someone/unheard-of", "run:ppo-20260101-000000-abcd"])
def test_what_cannot_be_known_is_said(path: str) -> None:
    with pytest.raises(ConfigError, match=r"reward_model\.path: the sizes of"):
        shape_of(ModelConfig(path=path), NO_TOKENIZER, key="reward_model")


def test_another_family_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    with pytest.raises(ConfigError, match="family 'mamba'"):
        shape_of(ModelConfig(path=str(tmp_path)), NO_TOKENIZER)


def test_the_table_is_of_sound_shapes() -> None:
    for name, shape in KNOWN_MODELS.items():
        assert isinstance(shape, ModelShape)
        assert name == name.lower()
        assert shape.attention_width == shape.hidden
        assert shape.heads % shape.kv_heads == 0
