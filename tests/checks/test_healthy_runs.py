"""Five healthy seeds of every kind of training: every light is judged, and none ever warns."""

import pytest

from rlhf_engine.checks.online import online_rules
from rlhf_engine.checks.supervised import LANGUAGE_MODEL_RULES, PREFERENCE_RULES, REWARD_MODEL_RULES
from toy_runs import SEEDS, ppo_state, train_dpo, train_ppo, train_rm, train_sft


@pytest.mark.parametrize("seed", SEEDS)
def test_sft_stays_ok(seed: int) -> None:
    _, lights = train_sft(seed)
    assert lights.not_ok == {}
    assert lights.lights.keys() == {rule.name for rule in LANGUAGE_MODEL_RULES}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_reward_model_stays_ok(seed: int) -> None:
    _, lights = train_rm(seed)
    assert lights.not_ok == {}
    assert lights.lights.keys() == {rule.name for rule in REWARD_MODEL_RULES}


@pytest.mark.parametrize("seed", SEEDS)
def test_dpo_stays_ok(seed: int) -> None:
    lights = train_dpo(seed)
    assert lights.not_ok == {}
    assert lights.lights.keys() == {rule.name for rule in PREFERENCE_RULES}


@pytest.mark.parametrize("seed", SEEDS)
def test_ppo_stays_ok(seed: int) -> None:
    lights = train_ppo(ppo_state(seed))
    assert lights.not_ok == {}
    assert lights.lights.keys() == {rule.name for rule in online_rules("float32")}
