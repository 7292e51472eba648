"""A model or tokenizer folder that tries to run code: pickles and scripts beside the weights are refused, not run."""

from __future__ import annotations

import json
import pickle
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from engine_models import policy_of, word_tokenizer
from rlhf_engine.config import ModelConfig
from rlhf_engine.data.tokenizers import _from_path
from rlhf_engine.errors import ConfigError
from rlhf_engine.models import load_policy

CPU = torch.device("cpu")


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.marker,)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "executed"


@pytest.fixture
def model(tmp_path: Path, marker: Path) -> Path:
    """A good model, with a script beside it that its config asks for."""
    folder = tmp_path / "model"
    tokenizer = word_tokenizer()
    policy_of(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    script = f"open({str(marker)!r}, 'w')\nraise RuntimeError('executed')\n"
    for name in ("modeling_evil", "configuration_evil", "tokenization_evil"):
        (folder / f"{name}.py").write_text(script)
    asked = {
        "AutoConfig": "configuration_evil.EvilConfig",
        "AutoModelForCausalLM": "modeling_evil.EvilModel",
        "AutoTokenizer": ["tokenization_evil.EvilTokenizer", None],
    }
    change(folder / "config.json", auto_map=asked)
    change(folder / "tokenizer_config.json", auto_map=asked)
    return folder


def change(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_script_beside_a_known_architecture_is_not_run(model: Path, marker: Path) -> None:
    tokenizer = _from_path(str(model))
    load_policy(ModelConfig(path=str(model)), tokenizer, CPU)
    assert not marker.exists()


def test_an_architecture_that_is_a_script_is_refused(model: Path, marker: Path) -> None:
    change(model / "config.json", model_type="evil", architectures=["EvilModel"])
    with pytest.raises(ConfigError):
        load_policy(ModelConfig(path=str(model)), word_tokenizer(), CPU)
    change(model / "tokenizer_config.json", tokenizer_class="EvilTokenizer")
    with suppress(ConfigError):
        _from_path(str(model))
    assert not marker.exists()


def test_pickled_weights_are_refused(model: Path, marker: Path) -> None:
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(marker)))
    with pytest.raises(ConfigError, match="safetensors"):
        load_policy(ModelConfig(path=str(model)), word_tokenizer(), CPU)
    assert not marker.exists()
    pickle.loads((model / "pytorch_model.bin").read_bytes())
    assert marker.exists()
