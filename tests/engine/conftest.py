from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from engine_models import word_tokenizer


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return word_tokenizer()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return tmp_path / "saved"
