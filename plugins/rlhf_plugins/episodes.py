"""One episode of an update as plain data, for the record."""

from __future__ import annotations

from rlhf_engine.experience import Experience


def episode_figures(experience: Experience, episode: int) -> dict[str, float]:
    return {
        "score": float(experience.scores[episode]),
        "kl/sequence_nats": float(experience.sequence_kl[episode]),
        "response_tokens": float(experience.rollout.response_lengths[episode]),
    }


def response_tokens(experience: Experience, episode: int) -> list[int]:
    """Up to and including EOS."""
    tokens: list[int] = experience.rollout.response_tokens[episode][experience.response_mask[episode]].tolist()
    return tokens


def token_values(experience: Experience, episode: int) -> dict[str, list[float]]:
    """Figures of the response tokens."""
    mask = experience.response_mask[episode]
    return {
        name: [shortest(value) for value in values[episode][mask].tolist()]
        for name, values in experience.token_figures.items()
    }


def shortest(value: float) -> float:
    """In as few digits as tell one fp32 number from the next."""
    return float(f"{value:.9g}")
