"""People beside judges: labels by hand, figures of published data counted in another way, and a whole evaluation."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch

from rlhf_engine.config import DataConfig, JudgeConfig, TokenizerConfig
from rlhf_engine.data.formatting import encode, response_tokens
from rlhf_engine.data.people import People, load_people
from rlhf_engine.data.tokenizers import load_tokenizer
from rlhf_engine.errors import DataError
from rlhf_engine.eval.people import Beside
from rlhf_engine.hooks import NoHooks
from rlhf_engine.reward_modeling import pair_accuracy
from rlhf_engine.rollout import Rollout
from small_evaluations import config_of, evaluated, world_data, world_texts

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared data beside the checkout")
CHOICES, RATINGS = "people's choices", "people's ratings"


def published(name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / name, "rt") as lines:
        return [json.loads(line) for line in lines]


def people_in(folder: Path, rows: list[dict[str, Any]]) -> People:
    file = folder / "people.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tokenizer = load_tokenizer(TokenizerConfig(train_vocab_size=300), "", world_texts)
    return load_people(
        DataConfig(source=[str(file)], template="post", max_prompt_tokens=8192), tokenizer, hooks=NoHooks()
    )


def beside(people: People, **judges: list[float | None]) -> Beside:
    return Beside(people, judges, 200, 0)


POST: dict[str, Any] = {"post": "i have a cat .", "post_id": "p"}
ROWS: list[dict[str, Any]] = [
    {**POST, "summaries": ["cat", "dog"], "choice": 0, "worker": "w1", "axis_overall_mean": [6.0, 2.0]},
    {**POST, "summaries": ["dog", "cat"], "choice": 1, "worker": "w2", "axis_overall_mean": [2.0, 6.0]},
    {**POST, "summaries": ["dog", "cat"], "choice": 0, "worker": "w2"},
    {**POST, "chosen": "dog", "rejected": "cat", "votes": [1, 0]},
    {**POST, "chosen": None, "rejected": None, "responses": ["cat", "dog"], "verdict": "tie", "labeller": "w3"},
]


def test_words_of_every_shape_are_labels_of_one_pair(tmp_path: Path) -> None:
    """Two for the cat, one for the dog, one for neither: of six twos one agrees. w2's second word is no label."""
    people = people_in(tmp_path, ROWS)
    (pair,) = people.pairs
    assert {pair.first, pair.second} == {"cat", "dog"}
    assert pair.prompt is not None and pair.prompt.text == "POST: i have a cat .\n\nTL;DR:"
    for_cat = [label.credit if pair.first == "cat" else 1 - label.credit for label in people.labels]
    assert [(label.kind, label.labeller) for label in people.labels] == [
        ("choice", "w1"),
        ("rating", "mean of ratings"),
        ("choice", "w2"),
        ("choice", ""),
        ("choice", "w3"),
    ]
    assert for_cat == [1.0, 1.0, 1.0, 0.0, 0.5]
    found = beside(people).agreements
    assert found[CHOICES, CHOICES].accuracy.mean == pytest.approx(1 / 6)
    assert found[CHOICES, RATINGS].accuracy.mean == pytest.approx(2 / 4)
    assert (RATINGS, RATINGS) not in found


def test_two_ratings_by_one_person_are_a_label_where_they_differ(tmp_path: Path) -> None:
    ratings = {"w1": {"a": 7, "b": 5, "c": 5}, "w2": {"a": 6, "b": 2, "c": 3}}
    rows = [
        {"post_id": "p", "summary": text, "overall": value, "worker": worker}
        for worker, by_text in ratings.items()
        for text, value in by_text.items()
    ]
    people = people_in(tmp_path, rows)
    assert len(people.labels) == 2 + 3 and all(pair.prompt is None for pair in people.pairs)
    assert beside(people).agreements[RATINGS, RATINGS].count == 2
    assert beside(people, judge=[None] * 3).agreements.keys() == {(RATINGS, RATINGS)}


def test_a_judge_is_held_against_every_label_and_against_other_judges(tmp_path: Path) -> None:
    people = people_in(tmp_path, [*ROWS[:2], ROWS[3]])
    cat = float(people.pairs[0].first == "cat")
    figures = beside(people, ours=[cat], theirs=[1 - cat], silent=[None]).figures()
    assert figures["people/agreement_of_ours_with_choices"] == pytest.approx(2 / 3)
    assert figures["people/agreement_of_theirs_with_choices"] == pytest.approx(1 / 3)
    assert figures["people/agreement_of_ours_with_theirs"] == 0.0
    assert not any("silent" in name for name in figures)


def test_rows_that_say_nothing_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 of 2 rows can't be used.*neither a choice between two texts nor a rating"):
        people_in(tmp_path, [{"post": "p", "summary": "s"}, {"post": "p", "chosen": "a", "rejected": None}])


def test_an_evaluation_shows_people_beside_judge_and_reward_model(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "people.jsonl"
    pairs = [(f"my cat is {word} .", f"should i leave my {word} job ?") for word in ("old", "new", "sad", "big")]
    rows = [{"post": f"post {n}", "chosen": a, "rejected": b, "votes": [2, 1]} for n, (a, b) in enumerate(pairs)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    verdicts = tmp_path / "verdicts.jsonl"
    asked = [(f"POST: post {n}\n\nTL;DR:", *two) for n, two in enumerate(pairs)]
    said = [
        {"prompt": prompt, "first": first, "second": second, "choice": "first" if first == chosen else "second"}
        for prompt, chosen, other in asked[:3]
        for first, second in ((chosen, other), (other, chosen))
    ]
    verdicts.write_text("".join(json.dumps(verdict) + "\n" for verdict in said))
    people = DataConfig(source=[str(file)], template="post", max_response_tokens=24)
    policies = {"sft": str(models / "first")}
    judge = JudgeConfig(kind="recorded", recorded=str(verdicts))
    data = world_data(7, 3)
    trainer, run = evaluated(
        config_of(models, policies=policies, people=people, judge=judge, data=data, temperatures=[0.0]), tmp_path
    )
    (table,) = (t for t in run.results["evaluation"]["tables"] if t["title"] == "Agreement with people")
    by_name = {(row[0], row[1]): row for row in table["rows"]}
    assert (
        by_name["recorded verdicts", CHOICES][2].startswith("0.667") and by_name["recorded verdicts", CHOICES][5] == 3
    )
    assert by_name[CHOICES, CHOICES][2].startswith("0.333"), "of two for one text and one for the other, 1 two of 3"
    scorer = trainer.evaluator
    chosen, rejected = (
        scorer.proxy_scores(rollout_of(scorer, [row[0] for row in asked], [two[side] for two in pairs]))
        for side in (0, 1)
    )
    wins = pair_accuracy(torch.tensor(chosen), torch.tensor(rejected))
    expected = (2 * wins + 1 * (1 - wins)) / 3
    found = run.results["evaluation"]["figures"]["people/agreement_of_reward_model_with_choices"]
    assert found == pytest.approx(expected)
    assert run.alerts[-1] == "no recorded verdict on 2 of 8 questions"


def rollout_of(scorer: Any, prompts: list[str], texts: list[str]) -> Any:
    tokens = [response_tokens(text, scorer.tokenizer, 24) for text in texts]
    encoded = [encode(scorer.tokenizer, prompt) for prompt in prompts]
    return Rollout.of_texts(encoded, tokens, eos_id=scorer.eos_id, pad_id=scorer.pad_id, device=scorer.baseline.device)


@needs_data
def test_workers_of_openai_who_compared_the_same_two_summaries(tmp_path: Path) -> None:
    """423 of 686 twos of different workers; with the mean ratings 415 of 568 (419 of 572 with repeats)."""
    rows = published("tldr_human_ratings/pairs_with_worker.jsonl.gz")
    first_word: dict[tuple[frozenset[int], str], int] = {}
    by_pair = defaultdict(list)
    for row in rows:
        key = frozenset(row["summary_ids"]), row["worker"]
        if key not in first_word:
            first_word[key] = row["summary_ids"][row["choice"]]
            by_pair[key[0]].append(first_word[key])
    twos = [a == b for chosen in by_pair.values() for a, b in combinations(chosen, 2)]
    found = beside(people_in(tmp_path, rows)).agreements
    assert (sum(twos), len(twos)) == (423, 686) and found[CHOICES, CHOICES].count == 686
    assert found[CHOICES, CHOICES].accuracy.mean == pytest.approx(423 / 686)
    assert found[CHOICES, RATINGS].accuracy.mean == pytest.approx(415 / 568)


@needs_data
def test_labellers_of_openai_who_voted_on_the_same_comparison(tmp_path: Path) -> None:
    """Votes for one text and for the other: C(a, 2) + C(b, 2) of C(a + b, 2) twos agree."""
    rows = [row for row in published("tldr_comparisons/train.jsonl.gz") if sum(row["votes"]) > 1]
    rows += published("tldr_comparisons/human_ties.jsonl.gz")
    agreeing = sum(a * (a - 1) // 2 + b * (b - 1) // 2 for a, b in (row["votes"] for row in rows))
    found = beside(people_in(tmp_path, rows)).agreements[CHOICES, CHOICES]
    assert found.accuracy.mean == pytest.approx(agreeing / found.count) == pytest.approx(1516 / 1913)
    assert found.accuracy.low < 0.8 < found.accuracy.high, "README of the data: people agree 80 %"


@needs_data
def test_raters_of_openai_who_saw_the_same_two_summaries(tmp_path: Path) -> None:
    rows = published("tldr_human_ratings/axis_validation.jsonl.gz")
    found = beside(people_in(tmp_path, rows)).agreements[RATINGS, RATINGS]
    by_rater: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for row in rows:
        if row["overall"] is not None:
            by_rater[row["post_id"], row["worker"]].setdefault(row["summary"].strip(), row["overall"])
    agreeing = total = 0
    for (post, one), (other_post, other) in combinations(by_rater, 2):
        if post == other_post:
            ours, theirs = by_rater[post, one], by_rater[post, other]
            for a, b in combinations(sorted(ours.keys() & theirs.keys()), 2):
                differences = (ours[a] - ours[b]) * (theirs[a] - theirs[b])
                agreeing, total = agreeing + (differences > 0), total + (differences != 0)
    assert found.count == total
    assert found.accuracy.mean == pytest.approx(agreeing / total)
