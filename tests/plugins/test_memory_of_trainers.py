"""What real trainers tell of their memory while they train."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from torch import nn

from rlhf_plugins.engine_trainer import EngineTrainer
from rlhf_sdk.events import MemoryRow
from rlhf_sdk.trainer import MemoryTeller
from test_live_trainers import rm, sft
from test_trainers_resume import TRAINERS, config_of, started

__all__ = ["rm", "sft"]

ROLES = {
    "sft": ["policy"],
    "rm": ["reward_model"],
    "ppo": ["policy", "ref_policy", "value_model", "reward_model"],
    "rloo": ["policy", "ref_policy", "reward_model"],
    "dpo": ["policy", "ref_policy"],
}
FLOAT = 4


def tables(trainer: EngineTrainer, run: object) -> Iterator[list[MemoryRow]]:
    """The table at each beginning of the optimizer's phase of a step, and after the step."""
    seen: list[list[MemoryRow]] = []

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        if name == "optimizer":
            seen.append(trainer.memory_table())
        yield

    run.phase = phase  # type: ignore[attr-defined]
    trainer.step()
    yield from seen
    yield trainer.memory_table()


def numbers(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("kind", ROLES)
def test_the_table_has_every_role_with_its_gradients_and_moments(
    kind: str, sft: Path, rm: Path, tmp_path: Path
) -> None:
    trainer, run = started(TRAINERS[kind](), config_of(kind, sft, rm), tmp_path / "run")
    assert isinstance(trainer, MemoryTeller)
    first, *_, after = tables(trainer, run)
    parts = vars(trainer.state) | vars(getattr(trainer.state, "models", object))
    found = {(row.role, row.kind): row.bytes for row in first}
    assert [role for role, kind_of in found if kind_of == "weights"] == ROLES[kind]
    for role in ROLES[kind]:
        trained = any(parameter.requires_grad for parameter in parts[role].parameters())
        weights = numbers(parts[role]) * FLOAT
        assert weights <= found[role, "weights"] <= weights + 4096
        assert found.get((role, "gradients"), 0) == (weights if trained else 0)
    assert (("", "experience") in found) == (kind in ("ppo", "rloo"))
    kinds = {row.kind for row in after}
    assert kinds == {"weights", "optimizer"}
    moments = sum(row.bytes for row in after if row.kind == "optimizer")
    gradients = sum(row.bytes for row in first if row.kind == "gradients")
    assert 2 * gradients <= moments <= 2 * gradients + 4096
