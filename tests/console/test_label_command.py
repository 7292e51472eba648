"""`rlhf label` in plain lines, what it says at the end, and `rlhf run --data`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parents[1] / "tui"))
from recorded import append, write_record
from rlhf_console.cli.main import app
from rlhf_console.requests import data_setting
from rlhf_console.runs.label_pairs import Pair, chosen_pairs
from rlhf_console.scoring import figure_of_run, scored_pairs
from rlhf_sdk.events import Sample, encode_line
from rlhf_sdk.preferences import PreferenceStore, Vote, new_vote
from rlhf_sdk.trainer import UserError

SCORES = {"a": (1.0, 3.0), "b": (2.0, 1.0), "c": (0.0, 0.5)}
"""Prompt -> score of the first and of the second policy."""


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    directory = write_record(tmp_path, "judged", plugin="eval")
    for place, policy in enumerate(("sft", "ppo")):
        for index, (prompt, scores) in enumerate(SCORES.items()):
            sample = Sample(
                tag=f"eval/{policy}", index=index, prompt=prompt, response=f"{policy} on {prompt}", step=place,
                metrics={"score": scores[place]},
            )  # fmt: skip
            append(directory, "samples.jsonl", encode_line(sample))
    return tmp_path


def label(runs: Path, *arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(app, ["label", "--runs", str(runs), *arguments], input=typed)


def votes(runs: Path) -> list[Vote]:
    return PreferenceStore(runs).refresh()


def test_a_line_is_a_vote_and_the_next_session_goes_on(runs: Path) -> None:
    said = label(runs, "judged", "--choose", "near_ties", "--labeller", "anna", typed="m odd\n1\nx\n")
    assert said.exit_code == 0, said.exception
    assert "1 of 3" in said.stdout and "2 of 3" in said.stdout and "'x' is none of the keys" in said.stderr
    (vote,) = votes(runs)
    assert (vote.prompt, vote.verdict, vote.note, vote.labeller) == ("c", "left", "odd", "anna")
    assert vote.sources is not None and {source.run for source in vote.sources} == {"judged"}
    assert {figures["score"] for figures in vote.figures} == {0.0, 0.5}
    said = label(runs, "judged", "--choose", "near_ties", "--labeller", "anna", typed="3\nu\n2\ns\n")
    assert [(vote.prompt, vote.verdict) for vote in votes(runs)] == [("c", "left"), ("b", "right")]
    assert "taken back" in said.stderr


def test_what_was_voted_before_a_kill_is_kept(runs: Path) -> None:
    command = [sys.executable, "-P", "-m", "rlhf_console", "label", "judged", "--runs", str(runs), "--labeller", "anna"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    process.stdin.write(b"1\n2\n")
    process.stdin.flush()
    deadline = time.monotonic() + 60
    while len(votes(runs)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    process.stdin.close()
    assert [vote.verdict for vote in votes(runs)] == ["left", "right"]
    assert "3 of 3" in label(runs, "judged", "--labeller", "anna").stdout


def test_the_summary_says_how_far_who_agrees_with_whom(runs: Path) -> None:
    label(runs, "judged", "--labeller", "anna", "--seed", "1", typed="1\n1\n1\n")
    label(runs, "judged", "--labeller", "bert", "--choose", "prompt", "-n", "2", typed="3\n4\n")
    said = label(runs, "--summary", "--json")
    found: dict[str, Any] = json.loads(said.stdout)
    rows = {row["labeller"]: row for row in found["labellers"]}
    assert (rows["anna"]["votes"], rows["bert"]["neither"], rows["anna"]["left better"]["value"]) == (3, 2, 1.0)
    preferred = {vote.prompt: (vote.chosen or "").split()[0] for vote in votes(runs) if vote.labeller == "anna"}
    agreed = sum(preferred[prompt] == ("ppo" if ppo > sft else "sft") for prompt, (sft, ppo) in SCORES.items())
    shown = {(row["who"], row["with"]): (row["count"], row["accuracy"]["value"]) for row in found["agreement"]}
    assert shown == {("anna", "the recorded score"): (3, pytest.approx(agreed / 3)), ("anna", "bert"): (2, 0.0)}
    assert "anna with bert" in label(runs, "--summary").stdout
    assert "anna has voted on all 3 pairs" in label(runs, "judged", "--labeller", "anna").stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name one or more runs, or a file by --pairs"),
        (["judged", "--pairs", "x.jsonl"], "name one or more runs, or a file by --pairs"),
        (["--pairs", "nowhere.jsonl"], "nowhere.jsonl: No such file"),
        (["judged", "--side", "sft", "--side", "pp0"], "--side 'pp0'"),
        (["judged", "--rm", "judged"], "has no checkpoint"),
    ],
)
def test_what_cannot_be_labelled_is_said(runs: Path, arguments: list[str], said: str) -> None:
    found = label(runs, *arguments)
    assert isinstance(found.exception, UserError) and said in str(found.exception)
    assert votes(runs) == []


def test_a_reward_models_heads_give_scores_margins_and_disagreements(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {("p", "a"): [1.0, 3.0], ("p", "b"): [2.0, 8.0], ("q", "a"): [0.0, 1.0], ("q", "b"): [1.0, 2.0]}
    monkeypatch.setattr("rlhf_console.scoring.head_scores", lambda texts, run, root: (said[text] for text in texts))
    given = [Pair(prompt, ("a", "b"), ("x", "y"), None, ({"gold": 5.0}, {})) for prompt in "pq"]
    found = scored_pairs(given, "rm", runs)
    assert [pair.figures for pair in found] == [
        ({"gold": 5.0, "score": 2.0}, {"score": 5.0}), ({"gold": 5.0, "score": 0.5}, {"score": 1.5}),
    ]  # fmt: skip
    assert [(pair.margin, pair.disagreement) for pair in found] == [(3.0, 2.0), (1.0, 0.0)]
    assert chosen_pairs(found, "disagreement", limit=1, seed=0) == found[:1]
    assert chosen_pairs(found, "near_ties", limit=1, seed=0) == found[1:]
    vote = new_vote("p", ("b", "a"), "left", policies=("y", "x"), labeller="anna")
    assert figure_of_run([vote], "rm", runs)(vote) == (5.0, 2.0)


def test_pairs_that_a_run_asks_about_come_before_its_samples(runs: Path) -> None:
    asked = {"index": 0, "prompt": "asked", "responses": ["x", "y"], "policies": ["p", "p"], "disagreement": 0.5}
    (runs / "judged" / "data").mkdir()
    append(runs / "judged" / "data", "pairs.jsonl", json.dumps(asked).encode() + b"\n")
    label(runs, "judged", typed="1\n")
    assert [vote.prompt for vote in votes(runs)] == ["asked"]


def test_data_is_the_source_of_the_plugins_data() -> None:
    assert data_setting("rm", ["preferences", "world"]) == ['rm.data.source=["preferences", "world"]']
    assert data_setting("rm", []) == []
    with pytest.raises(UserError, match=r"--data: echo has no key data\.source"):
        data_setting("echo", ["world"])
    with pytest.raises(UserError, match="its stages have"):
        data_setting("pipeline", ["world"])
