"""Five healthy seeds of every kind of training: every light is judged, and none ever warns."""

import pytest

from rlhf_engine.checks.online import online_rules
from rlhf_engine.checks.supervised import LANGUAGE_MODEL_RULES, PREFERENCE_RULES, REWARD_MODEL_RULES
from rlhf_engine.config import DPOConfig, GRPOConfig, IPOConfig, KTOConfig, RLOOConfig
from toy_runs import SEEDS, ppo_state, train_critic_free, train_dpo, train_ppo, train_rm, train_sft


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


@pytest.mark.parametrize("kind", [DPOConfig, IPOConfig, KTOConfig])
@pytest.mark.parametrize("seed", SEEDS)
def test_preferences_stay_ok(seed: int, kind: type[DPOConfig | IPOConfig | KTOConfig]) -> None:
    lights = train_dpo(seed, kind=kind)
    assert lights.not_ok == {}
    assert lights.lights.keys() == {rule.name for rule in PREFERENCE_RULES}


@pytest.mark.parametrize("seed", SEEDS)
def test_ppo_stays_ok(seed: int) -> None:
    lights = train_ppo(ppo_state(seed))
    assert lights.not_ok == {}
    assert lights.lights.keys() == {rule.name for rule in online_rules("float32")}


@pytest.mark.parametrize("kind", [RLOOConfig, GRPOConfig])
@pytest.mark.parametrize("seed", SEEDS)
def test_critic_free_training_stays_ok(seed: int, kind: type[RLOOConfig | GRPOConfig]) -> None:
    lights = train_critic_free(seed, kind)
    assert lights.not_ok == {}
    expected = {
        rule.name for rule in online_rules("float32") if not rule.figure.startswith(("value/", "optimizer/value"))
    }
    assert lights.lights.keys() == expected - {"advantage_moments"}
