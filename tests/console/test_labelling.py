"""Pairs, sessions and agreement: what people are shown, and what their votes say."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_console.runs.agreement import agreement, between_labellers, figure_named, share, with_figure
from rlhf_console.runs.label_pairs import Choice, Pair, chosen_pairs, pairs_of_file
from rlhf_console.runs.labelling import Labelling, Plan, open_session
from rlhf_console.runs.vote_summary import plain_summary
from rlhf_engine.eval.agreement import agreement as oracle
from rlhf_sdk.preferences import PreferenceStore, Verdict, Vote, new_vote
from rlhf_sdk.trainer import UserError


def pair(number: int, *, scores: tuple[float, float] | None = None, disagreement: float | None = None) -> Pair:
    figures = ({}, {}) if scores is None else ({"score": scores[0]}, {"score": scores[1]})
    return Pair(f"prompt {number}", (f"a{number}", f"b{number}"), ("sft", "ppo"), None, figures, disagreement)


def session(root: Path, count: int = 40, *, share: float = 0.0, labeller: str = "anna") -> Labelling:
    return Labelling(PreferenceStore(root), [pair(n) for n in range(count)], labeller, repeat_share=share)


def vote_all(work: Labelling, verdict: Verdict = "left") -> list[str]:
    """The prompts, in the order in which they came."""
    shown = []
    while work.task is not None:
        shown.append(work.task.pair.prompt)
        work.vote(verdict)
    return shown


LABELS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=40)


@given(LABELS)
@settings(max_examples=60, deadline=None)
def test_accuracy_and_kappa_are_those_of_the_engine(labels: Sequence[tuple[str, str]]) -> None:
    ours, theirs = zip(*labels, strict=True)
    prompts = [str(place) for place in range(len(labels))]
    found, known = agreement(labels, prompts), oracle(ours, theirs, prompts, resamples=1, seed=0)
    assert found is not None and known is not None
    assert found.accuracy.value == pytest.approx(known.accuracy.mean)
    assert found.kappa.value == pytest.approx(known.kappa.mean, nan_ok=True)


def test_kappa_by_hand() -> None:
    labels = [("a", "a")] * 20 + [("a", "b")] * 5 + [("b", "a")] * 10 + [("b", "b")] * 15
    found = agreement(labels, [str(place) for place in range(50)])
    assert found is not None and (found.accuracy.value, found.kappa.value) == pytest.approx((0.7, 0.4))


@pytest.mark.parametrize("rate", [0.5, 0.8, 0.95])
def test_the_interval_of_a_share_holds_the_truth_95_times_in_100(rate: float) -> None:
    """Over all outcomes of 60 draws, each with its probability: no sampling."""
    covered = sum(
        math.comb(60, hits) * rate**hits * (1 - rate) ** (60 - hits)
        for hits in range(61)
        if (found := share(hits, 60)).low <= rate <= found.high
    )
    assert 0.93 <= covered <= 0.98


def test_several_pairs_on_one_prompt_make_no_narrower_interval() -> None:
    labels = [("a", "a")] * 30 + [("a", "b")] * 10
    alone, repeated = agreement(labels, map(str, range(40))), agreement(labels, [str(n // 4) for n in range(40)])
    assert alone is not None and repeated is not None and alone.accuracy.value == repeated.accuracy.value
    assert repeated.accuracy.low < alone.accuracy.low < alone.accuracy.high < repeated.accuracy.high
    assert repeated.accuracy == share(30, 40, 10)


def test_votes_are_held_against_the_score_where_both_prefer_something() -> None:
    margins: list[tuple[Verdict, tuple[float, float]]] = [
        ("left", (2.0, 1.0)), ("right", (0.0, 1.0)), ("left", (0.0, 1.0)), ("left", (1.0, 1.0)), ("tie", (5.0, 1.0)),
    ]  # fmt: skip
    votes = [
        new_vote(str(place), ("a", "b"), verdict, policies=("x", "y"), labeller="anna", figures=figures)
        for place, (verdict, (left, right)) in enumerate(margins)
        for figures in [({"score": left}, {"score": right})]
    ]
    found = with_figure(votes, figure_named("score"))
    assert found is not None and found.count == 3 and found.accuracy.value == pytest.approx(2 / 3)
    assert with_figure(votes, figure_named("gold")) is None


def test_labellers_are_compared_on_the_pairs_that_both_saw_whichever_way_round() -> None:
    def said(labeller: str, *verdicts: Verdict, turned: bool = False) -> list[Vote]:
        texts = ("b", "a") if turned else ("a", "b")
        return [
            new_vote(str(place), texts, verdict, policies=("x", "y"), labeller=labeller)
            for place, verdict in enumerate(verdicts)
        ]

    votes = said("anna", "left", "right", "tie") + said("bert", "right", "right", "both_bad", "left", turned=True)
    found = between_labellers(votes)
    assert list(found) == [("anna", "bert")]
    assert found["anna", "bert"].count == 3 and found["anna", "bert"].accuracy.value == pytest.approx(2 / 3)


def test_every_pair_is_shown_once_and_a_later_session_goes_on(tmp_path: Path) -> None:
    work = session(tmp_path)
    for _ in range(15):
        work.vote("left")
    later = session(tmp_path)
    assert len(later.votes) == 15 and later.total == 40
    assert sorted(vote_all(later)) == sorted({f"prompt {n}" for n in range(40)} - {v.prompt for v in work.votes})
    assert session(tmp_path).task is None
    assert len(vote_all(session(tmp_path, labeller="bert"))) == 40


def test_sides_are_turned_like_a_coin_and_a_vote_means_the_response(tmp_path: Path) -> None:
    work = session(tmp_path, 200)
    turned = 0
    while work.task is not None:
        turned += work.task.turned
        vote = work.vote("left")
        assert vote is not None and vote.chosen is not None
        assert vote.policies[0] == {"a": "sft", "b": "ppo"}[vote.chosen[0]]
    assert 70 < turned < 130


def test_repeats_come_later_the_other_way_round_and_tell_how_far_one_agrees_with_oneself(tmp_path: Path) -> None:
    work = session(tmp_path, 40, share=0.2)
    assert work.total == 50
    shown = vote_all(work, "left")
    votes = work.votes
    by_id = {vote.id: place for place, vote in enumerate(votes)}
    repeats = [(by_id[vote.repeat_of], place) for place, vote in enumerate(votes) if vote.repeat_of]
    assert (len(shown), len(repeats), len({first for first, _ in repeats})) == (50, 10, 10)
    assert all(again - first > 5 for first, again in repeats)
    assert all(votes[first].responses == votes[again].responses[::-1] for first, again in repeats)
    agreements = plain_summary(votes, {})["agreement"]
    assert [(row["with"], row["count"], row["accuracy"]["value"]) for row in agreements] == [("oneself", 10, 0.0)]


def test_who_always_prefers_the_same_response_agrees_with_oneself(tmp_path: Path) -> None:
    work = session(tmp_path, 20, share=0.3)
    while work.task is not None:
        work.vote("left" if work.task.responses[0].startswith("a") else "right")
    (row,) = plain_summary(work.votes, {})["agreement"]
    assert (row["count"], row["accuracy"]["value"]) == (8, 1.0)


def test_undo_takes_back_one_after_another_also_of_a_session_before(tmp_path: Path) -> None:
    before = session(tmp_path)
    first = before.task
    before.vote("left")
    work = session(tmp_path)
    second = work.task
    work.vote("right", "a slip")
    third = work.task
    work.skip()
    assert (work.skipped, work.total) == (1, 39)
    for expected in (third, second, first):
        assert work.undo() and work.task == expected
    assert not work.undo() and (work.votes, work.skipped) == ([], 0)
    assert len((tmp_path / "preferences.jsonl").read_text().splitlines()) == 4


def test_a_session_passes_to_another_process_whole(tmp_path: Path) -> None:
    plan = Plan(root=str(tmp_path), labeller="anna", pairs=[pair(1, scores=(1.0, 2.0))], repeat_share=0.1, seed=3)
    assert open_session(msgspec.json.encode(plan)).task == open_session(plan).task


ORDERS: dict[Choice, list[int]] = {"prompt": [0, 1, 2, 3], "near_ties": [2, 0, 1], "disagreement": [1, 0, 2]}


@pytest.mark.parametrize(("choice", "expected"), ORDERS.items())
def test_pairs_come_by_what_the_reward_model_is_least_sure_of(choice: Choice, expected: list[int]) -> None:
    given = [
        pair(0, scores=(1.0, 2.0), disagreement=0.5), pair(1, scores=(5.0, 1.0), disagreement=2.0),
        pair(2, scores=(1.0, 1.1), disagreement=0.1), pair(3),
    ]  # fmt: skip
    assert chosen_pairs(given, choice, limit=0, seed=0) == [given[place] for place in expected]
    assert chosen_pairs(given, choice, limit=2, seed=0) == [given[place] for place in expected[:2]]


def test_chance_depends_on_the_seed_alone_and_orders_need_scores() -> None:
    given = [pair(n) for n in range(30)]
    once = chosen_pairs(given, "random", limit=0, seed=1)
    assert (
        once == chosen_pairs(given[::-1], "random", limit=0, seed=1) != chosen_pairs(given, "random", limit=0, seed=2)
    )
    with pytest.raises(UserError, match="--choose near_ties: the samples have no scores; --rm RUN"):
        chosen_pairs(given, "near_ties", limit=0, seed=0)
    with pytest.raises(UserError, match="--choose disagreement: nothing is known of it; --rm RUN"):
        chosen_pairs([pair(0, scores=(1.0, 2.0))], "disagreement", limit=0, seed=0)


def test_pairs_of_a_file_and_rows_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    rows = [
        {"prompt": "p", "responses": ["a", "b"], "scores": [1.0, 3.0], "disagreement": 0.5},
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"prompt": "q", "chosen": "b", "rejected": "a"},
        {"prompt": "same", "responses": ["a", " a"]},
        {"prompt": "empty", "responses": ["a", ""]},
    ]
    file.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    found = pairs_of_file(file)
    assert [(each.prompt, each.margin, each.disagreement) for each in found] == [("p", 2.0, 0.5), ("q", None, None)]
    for broken in ('{"prompt": "p", "responses": ["a"]}', "{", '{"responses": ["a", "b"]}'):
        file.write_text(json.dumps(rows[0]) + "\n" + broken + "\n")
        with pytest.raises(UserError, match=r"pairs\.jsonl:2: .*expected prompt and responses"):
            pairs_of_file(file)
