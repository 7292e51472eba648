"""What an online trainer records of an update, held against the update itself."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from rlhf_engine.data.examples import Prompt
from rlhf_engine.experience import Experience
from rlhf_engine.scalar_models import scores_and_disagreements
from rlhf_engine.update_metrics import UpdateMetrics
from rlhf_plugins.episodes import token_values
from rlhf_plugins.online_trainer import OnlineTrainer


def kept_experiences(trainer: OnlineTrainer) -> list[Experience]:
    """Grows with each update of `trainer`."""
    kept: list[Experience] = []
    update_on = trainer.update_on

    def keeping(prompts: Sequence[Prompt]) -> tuple[Experience, UpdateMetrics]:
        experience, metrics = update_on(prompts)
        kept.append(experience)
        return experience, metrics

    trainer.update_on = keeping  # type: ignore[method-assign]
    return kept


def check_recorded(samples: Sequence[dict[str, Any]], trainer: OnlineTrainer, experience: Experience) -> None:
    """The prompts that come first in the data, each with figures of one episode, and its tokens' places in the text."""
    places = [sample["index"] for sample in samples]
    assert len(samples) == trainer.config.sample_count
    assert places == sorted(places)
    episodes = [token_values(experience, episode) for episode in range(len(experience))]
    reward_model = trainer.state.models.reward_model
    scores, _ = scores_and_disagreements(reward_model, experience.rollout, ensemble_penalty=0.0)
    for sample in samples:
        figures = dict(sample["token_values"])
        gained = pytest.approx(sum(figures.pop("score_gain")), abs=1e-4)
        episode = next(row for row, own in enumerate(episodes) if own == figures and float(scores[row]) == gained)
        assert sample["prompt"] == trainer.prompts[sample["index"]].text
        length = experience.rollout.response_lengths[episode]
        assert len(sample["token_ends"]) == length == sample["metrics"]["response_tokens"]
        assert "".join(sample["response"][a:b] for a, b in pairwise([0, *sample["token_ends"]])) == sample["response"]
