"""Memory that really runs out, in each phase of a PPO update: it goes on with fewer rows, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from rlhf_engine.ppo import PPOState, ppo_update
from small_ppo import PROMPTS, config_with, new_state
from test_memory_budget import NO_LIMIT, PHASES, Limited

ROWS = 4
CONFIG = config_with(
    batch_size=ROWS, minibatches=1, ppo_epochs=1, response_tokens=48, micro_batch_size=ROWS, rollout_batch_size=ROWS
)
TOLERANCE = 1e-5


class Pressed(Limited):
    """Hooks that keep what is told of memory that ran out, and what the error was holding at that moment."""

    def __init__(self, limited: str, extra: int) -> None:
        super().__init__(limited, extra)
        self.told: list[tuple[str, int, int | None]] = []
        self.alive: list[bool] = []

    def out_of_memory(self, error: Exception, *, what: str, rows: int, smaller: int | None) -> None:
        assert isinstance(error, torch.OutOfMemoryError)
        self.told.append((what, rows, smaller))
        self.alive.append(error.__traceback__ is not None)


def updated(
    hooks: Limited, prepare: Callable[[PPOState], None] = lambda state: None
) -> tuple[PPOState, dict[str, float]]:
    state = new_state()
    prepare(state)
    return state, ppo_update(state, PROMPTS[:ROWS], CONFIG, hooks)[1].values


def trained(state: PPOState) -> list[torch.Tensor]:
    models = (state.models.policy, state.models.value_model)
    return [parameter.detach() for model in models for parameter in model.parameters()]


@pytest.mark.parametrize("phase", PHASES)
def test_a_phase_that_runs_out_of_memory_ends_as_if_begun_with_fewer_rows(phase: str) -> None:
    free = Limited(phase, NO_LIMIT >> 1)
    at_first, figures = updated(free)
    hooks = Pressed(phase, free.took[phase] - 1)
    backed_off, backed_off_figures = updated(hooks)
    what = hooks.told[0][0]
    assert hooks.told == [(what, ROWS, 2), (what, 2, 1)][: len(hooks.told)] and all(hooks.alive)

    def smaller_from_the_start(state: PPOState) -> None:
        state.backoff.sizes[what] = hooks.told[-1][2] or 0

    expected, expected_figures = updated(Pressed("", 0), smaller_from_the_start)
    assert backed_off_figures == expected_figures
    assert all(torch.equal(a, b) for a, b in zip(trained(backed_off), trained(expected), strict=True))
    assert backed_off_figures == pytest.approx(figures, rel=TOLERANCE, abs=TOLERANCE)
    assert all(
        torch.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE)
        for a, b in zip(trained(backed_off), trained(at_first), strict=True)
    )
