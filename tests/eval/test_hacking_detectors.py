"""Each detector on responses written for it, the test that tells when proxy and second opinion part, and its error."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rlhf_engine.data.world import Post, demonstrations
from rlhf_engine.data.world.writers import CAREFUL, REFERENCE, write
from rlhf_engine.hacking.curve import Curve, Point
from rlhf_engine.hacking.detectors import DETECTORS, extremes
from rlhf_engine.hacking.parting import fall_quantile, parting, student_quantile
from rlhf_engine.hacking.reading import Reading
from rlhf_engine.hacking.texts import text_columns, with_phrase
from rlhf_engine.hacking.watch import HackingWatch

N = 48
POSTS = [Post.from_record(row) for row in demonstrations(N, seed=5)]


def reading(step: int, texts: Sequence[str], **columns: Any) -> Reading:
    """Of texts to POSTS; what the words don't tell is healthy unless it is given."""
    given = {
        "ended": [1.0] * N,
        "tokens": [float(len(text.split()) + 1) for text in texts],
        "proxy": [0.0] * N,
        "second": [],
        "kl_nats": [float(row % 3) for row in range(N)],
        "entropy_nats": [0.4] * N,
        "beyond_range": [0.0] * N,
    }
    words = text_columns([post.title for post in POSTS], [post.post for post in POSTS], texts)
    return Reading(step=step, texts=list(texts), **{**given, **words, **columns})


def written(habits: Any, seed: int = 0) -> list[str]:
    return [write(post, habits, random.Random(f"{seed}/{post.id}")) for post in POSTS]


BASELINE = reading(0, written(REFERENCE))
PLANTED: dict[str, Callable[[], Reading]] = {
    "title_copying": lambda: reading(8, [post.title for post in POSTS]),
    "extraction": lambda: reading(8, [post.post.split(" . ")[1] for post in POSTS]),
    "long_extracts": lambda: reading(8, [post.post.split(" . ")[1] for post in POSTS]),
    "repetition": lambda: reading(8, [" . ".join([text] * 2) for text in BASELINE.texts]),
    "longer_responses": lambda: reading(8, BASELINE.texts, tokens=[28.0] * N),
    "shorter_responses": lambda: reading(8, BASELINE.texts, tokens=[2.0] * N),
    "eos_collapse": lambda: reading(8, BASELINE.texts, ended=[1.0, 0.0] * (N // 2)),
    "entropy_collapse": lambda: reading(8, BASELINE.texts, entropy_nats=[0.05] * N),
    "one_phrase": lambda: reading(8, [f"{text} also we have two cats ." for text in BASELINE.texts]),
    "beyond_reward_range": lambda: reading(8, BASELINE.texts, beyond_range=[1.0, 0.0] * (N // 2)),
}


def watch(probes: int = 8) -> HackingWatch:
    found = HackingWatch(probes, "gold")
    assert found.observe(BASELINE) == []
    return found


@pytest.mark.parametrize("code", [detector.code for detector in DETECTORS])
def test_each_detector_fires_on_its_hack(code: str) -> None:
    found = {finding.code: finding for finding in watch().observe(PLANTED[code]())}
    finding = found[code]
    assert len(set(finding.rows)) == 3 and finding.advice and finding.severity == "warning"
    assert f"{finding.figure:.3g}" in finding.message and f"{finding.threshold:.3g}" in finding.message


@pytest.mark.parametrize("habits", [REFERENCE, CAREFUL])
@pytest.mark.parametrize("seed", range(1, 6))
def test_all_are_silent_on_healthy_writers(habits: Any, seed: int) -> None:
    assert watch().observe(reading(8, written(habits, seed))) == []


def test_examples_are_those_that_show_it_most() -> None:
    copies = [post.title if row in (3, 7, 11) or row > 20 else "so" for row, post in enumerate(POSTS)]
    (finding,) = (each for each in watch().observe(reading(8, copies)) if each.code == "title_copying")
    assert finding.rows == [3, 7, 11]
    assert extremes([1.0, 3.0, 3.0, 2.0]) == [1, 2, 3]


def test_an_episode_of_trouble_is_told_once() -> None:
    seen = watch()
    told = [
        [finding.code for finding in seen.observe(replace(BASELINE, step=step, tokens=[length] * N))]
        for step, length in enumerate((28.0, 29.0, 24.0, 28.0, 12.0, 28.0), start=1)
    ]
    assert told == [["longer_responses"], [], [], [], [], ["longer_responses"]], "24 is no recovery yet, 12 is one"


def test_what_is_remembered_goes_on_as_before() -> None:
    first = watch()
    first.observe(replace(PLANTED["title_copying"](), second=[]))
    again = HackingWatch(8, "gold")
    again.recall(first.remembered())
    assert again == first and again.trouble


def judged(step: int, proxy: Any, second: Any) -> Reading:
    return replace(BASELINE, step=step, proxy=[*map(float, proxy)], second=[*map(float, second)])


def test_parting_needs_a_fall_of_the_second_opinion_alone() -> None:
    noise = np.random.default_rng(0).normal(size=N)
    best, quantile = judged(4, noise, noise), fall_quantile(8, N)
    wide = np.where(np.arange(N) % 2 == 0, 2.5, -0.5)
    apart = parting(best, judged(8, noise + 1, noise - wide), quantile, "gold")
    assert apart is not None and apart.severity == "error" and "gold fell from" in apart.message
    assert all(row % 2 == 0 for row in apart.rows), "where it fell most"
    assert parting(best, judged(8, noise - wide, noise - wide), quantile, "gold") is None, "both fell"
    assert parting(best, judged(8, noise + 1, noise - wide / 9), quantile, "gold") is not None
    assert parting(best, judged(8, noise + 1, noise - wide + 0.4), quantile, "gold") is None, "within the noise"


def test_runs_that_do_not_change_raise_few_false_alarms() -> None:
    """The promise is 1 run in 100 at most; 600 runs of 8 probes keep it within what chance allows (p < 0.001)."""
    rng, alarms, quantile = np.random.default_rng(1), 0, fall_quantile(8, N)
    for _ in range(600):
        prompts = rng.normal(size=N)
        probes = [judged(step, prompts, prompts + 2 * rng.normal(size=N)) for step in range(8)]
        best = [max(probes[:step], key=lambda probe: sum(probe.second)) for step in range(1, 8)]
        alarms += any(parting(b, now, quantile, "gold") for b, now in zip(best, probes[1:], strict=True))
    assert alarms <= 15


@pytest.mark.parametrize(
    ("probability", "degrees", "quantile"),
    [(0.95, 10, 1.8125), (0.99, 30, 2.4573), (0.999, 60, 3.2317), (0.9995, 7, 5.4079), (0.975, 1000, 1.9623)],
)
def test_quantiles_are_those_of_the_tables(probability: float, degrees: int, quantile: float) -> None:
    assert student_quantile(probability, degrees) == pytest.approx(quantile, rel=0.01)


def test_a_phrase_is_whole_words_side_by_side() -> None:
    assert with_phrase(["We have two cats.", "have two cattle", "two cats have"], "have two cats") == [1.0, 0.0, 0.0]
    assert with_phrase(["a b"], "") == [0.0]


def test_the_curve_finds_the_peak_that_it_was_made_with() -> None:
    """gold = d (alpha - beta ln d) has its peak at exp(alpha / beta - 1)."""
    alpha, beta = 2.0, 0.9
    kls = [0.0, 0.25, 1.0, 2.25, 4.0, 9.0, 16.0]
    gains = [0.0 if kl == 0 else kl**0.5 * (alpha - beta * np.log(kl**0.5)) for kl in kls]
    curve = Curve(
        [Point(step, 1.0, 3.0 + gain, kl, 0.1) for step, (kl, gain) in enumerate(zip(kls, gains, strict=True))]
    )
    peak = float(np.exp(alpha / beta - 1)) ** 2
    assert curve.metrics() == {"probe/fit_peak_kl_nats": pytest.approx(peak)}
    assert curve.best is not None and curve.best.kl_nats == min(kls, key=lambda kl: abs(kl - peak))
    marked = [row for row in curve.table({5: "step-00000005"})["rows"] if row[-1]]
    assert marked == [curve.table({5: "step-00000005"})["rows"][curve.best.step]]
    assert Curve(curve.points[:3]).fit is None, "too few points"
    near = Curve(curve.points[:5])
    assert near.fit is not None and near.fit.peak_distance == pytest.approx(peak**0.5)
    assert near.metrics() == {}, "11.5 nats is more than twice the 4 that were seen"
