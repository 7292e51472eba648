"""The store of votes, what becomes of it for training, and how a config names it."""

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_sdk.launch import create_run
from rlhf_sdk.preferences import FILE, PreferenceStore, Verdict, Vote, new_vote
from rlhf_sdk.references import pin, resolve
from rlhf_sdk.settled_votes import read_lines, settle
from rlhf_sdk.trainer import UserError
from rlhf_sdk.vote_sources import VoteFiles

OLD = {
    "prompt": "p", "chosen": "a", "rejected": "b", "verdict": "left", "responses": ["a", "b"], "policies": ["x", "y"],
    "blind": True, "note": "", "time": 1.0,
}  # fmt: skip


def vote(verdict: Verdict = "left", *, prompt: str = "p", labeller: str = "anna", turned: bool = False) -> Vote:
    responses = ("b", "a") if turned else ("a", "b")
    return new_vote(prompt, responses, verdict, policies=("x", "y"), labeller=labeller)


def settled(*votes: Vote) -> list[tuple[int, str | None]]:
    return [(row, found["chosen"]) for row, found in settle(votes).comparisons.items()]


def test_what_was_appended_is_read_back_and_what_was_taken_back_is_not(tmp_path: Path) -> None:
    store, other = PreferenceStore(tmp_path), PreferenceStore(tmp_path)
    first, second = vote(), vote("tie")
    for each in (first, second):
        store.append(each)
    assert other.refresh() == [first, second] and not store.votes
    store.retract(first)
    assert other.is_behind and other.refresh() == [second] == store.refresh()
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_a_torn_last_line_is_not_yet_written_and_cut_off_by_the_next_writer(tmp_path: Path) -> None:
    store = PreferenceStore(tmp_path)
    kept, lost, later = vote(), vote(prompt="lost"), vote(prompt="later")
    store.append(kept)
    whole = (tmp_path / FILE).read_bytes()
    store.append(lost)
    torn = (tmp_path / FILE).read_bytes()
    for end in range(len(whole), len(torn)):
        (tmp_path / FILE).write_bytes(torn[:end])
        assert PreferenceStore(tmp_path).refresh() == [kept]
    reader = PreferenceStore(tmp_path)
    reader.refresh()
    store.append(later)
    assert reader.refresh() == [kept, later] and not reader.damaged


def _write_many(root: Path, labeller: str) -> None:
    store = PreferenceStore(root)
    for number in range(20):
        store.append(vote(prompt=f"{labeller} {number} " + "x" * 5000, labeller=labeller))


def test_several_writers_lose_no_line(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_many, args=(tmp_path, name)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=60)
    store = PreferenceStore(tmp_path)
    assert len({(vote.labeller, vote.prompt) for vote in store.refresh()}) == 60 and not store.damaged


def test_votes_of_before_are_read_and_those_of_a_newer_version_are_not(tmp_path: Path) -> None:
    newer = {**OLD, "schema": 3}
    lines = [json.dumps(OLD), json.dumps(newer), "{", json.dumps({**OLD, "verdict": "middle"})]
    (tmp_path / FILE).write_text("\n".join(lines) + "\n")
    store = PreferenceStore(tmp_path)
    (found,) = store.refresh()
    assert (found.chosen, found.labeller, found.id, store.damaged) == ("a", "", "", 3)
    problems = settle(read_lines(tmp_path / FILE)).problems
    assert list(problems) == [2, 3, 4] and "upgrade rlhf-console" in problems[2]


def test_keys_and_figures_that_are_no_numbers_stay_out(tmp_path: Path) -> None:
    key = "hf_" + "aB3" * 12
    found = new_vote(
        f"use {key}", ("a", "b"), "left", policies=("x", "y"), labeller="anna",
        figures=({"score": float("nan"), "gold": 1.0}, {"score": 2.0}),
    )  # fmt: skip
    store = PreferenceStore(tmp_path)
    store.append(found)
    assert key not in (tmp_path / FILE).read_text()
    assert store.refresh()[0].figures == ({"gold": 1.0}, {"score": 2.0})


def test_one_comparison_a_pair_at_its_first_vote() -> None:
    votes = vote("left"), vote("right", turned=True), vote("tie", prompt="q"), vote("right", prompt="r")
    assert settled(*votes) == [(1, "a"), (3, None), (4, "b")]
    assert settle(votes).summary == "4 votes on 3 pairs, 1 undecided"
    lines = list(settle(votes).lines())
    assert [bool(line.strip()) for line in lines] == [True, False, True, True]
    assert json.loads(lines[3]) | {"id": ""} == {
        "id": "", "prompt": "r", "labellers": ["anna"], "chosen": "b", "rejected": "a", "sources": ["y", "x"],
    }  # fmt: skip


def test_who_contradicts_oneself_prefers_neither_and_the_larger_number_of_labellers_decides() -> None:
    anna, bert, carl = vote("left"), vote("right", labeller="bert"), vote("right", labeller="carl")
    assert settled(anna, vote("right")) == [(1, None)]
    assert settled(anna, bert) == [(1, None)]
    assert settled(anna, bert, carl) == [(1, "b")]
    assert settled(anna, anna, anna, bert, carl) == [(1, "b")]
    assert settled(anna, vote("tie", labeller="bert")) == [(1, "a")]


VOTES = st.lists(
    st.builds(
        vote,
        st.sampled_from(["left", "right", "tie", "both_bad"]),
        prompt=st.sampled_from("pq"),
        labeller=st.sampled_from(["anna", "bert"]),
        turned=st.booleans(),
    ),
    max_size=8,
)


@given(VOTES)
@settings(max_examples=60, deadline=None)
def test_order_and_sides_of_votes_decide_nothing(votes: list[Vote]) -> None:
    def chosen(some: list[Vote]) -> dict[str, Any]:
        return {found["prompt"]: found["chosen"] for found in settle(some).comparisons.values()}

    assert chosen(votes) == chosen(votes[::-1]) == chosen(votes * 2)


def test_a_run_is_made_with_the_votes_of_that_moment(tmp_path: Path) -> None:
    store = PreferenceStore(tmp_path)
    store.append(vote())
    run = create_run(
        tmp_path, plugin="rm", config={"data": {"source": ["preferences", "world"]}, "name": "preferences"}
    )
    store.append(vote(prompt="later"))
    config = run.record().config
    assert config == {"data": {"source": ["preferences@1", "world"]}, "name": "preferences"}
    files = VoteFiles(run.path / "data")
    resolved = resolve(tmp_path, config, files)["data"]["source"]
    assert resolved == [str(run.path / "data" / "preferences-1.jsonl"), "world"]
    assert json.loads(Path(resolved[0]).read_text())["chosen"] == "a"
    assert files.notes == [f"{tmp_path / FILE}: 1 rows: 1 votes on 1 pairs"]
    (tmp_path / FILE).unlink()
    assert resolve(tmp_path, config, VoteFiles(run.path / "data"))["data"]["source"] == resolved


def test_votes_of_another_folder_by_its_path_or_their_files(tmp_path: Path) -> None:
    elsewhere, other = tmp_path / "else", PreferenceStore(tmp_path / "else")
    other.append(vote())
    other.append(vote(prompt="q"))
    for named in (f"preferences:{elsewhere}", f"preferences:{elsewhere / FILE}", str(elsewhere / FILE)):
        pinned, _ = pin(tmp_path, {"source": [named]})
        assert pinned["source"][0] == f"preferences:{named.removeprefix('preferences:')}@2"
        made = Path(resolve(tmp_path, pinned, VoteFiles(tmp_path / "data"))["source"][0])
        assert [json.loads(line)["prompt"] for line in made.read_text().splitlines()] == ["p", "q"]
    assert pin(tmp_path, {"source": [f"preferences:{elsewhere}@1"]})[0]["source"] == [f"preferences:{elsewhere}@1"]
    assert pin(tmp_path, {"other": ["preferences"]})[0] == {"other": ["preferences"]}


def test_votes_that_are_not_there_are_said_before_a_run_is_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.source\.0 = 'preferences': no votes: there is no .*preferences\.jsonl"):
        create_run(tmp_path, plugin="rm", config={"data": {"source": ["preferences"]}})
    store = PreferenceStore(tmp_path)
    store.append(vote())
    with pytest.raises(UserError, match="has 1 rows"):
        pin(tmp_path, {"source": ["preferences@2"]})
    (tmp_path / FILE).write_text("{}\n")
    with pytest.raises(UserError, match="has no vote"):
        pin(tmp_path, {"source": ["preferences"]})
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
