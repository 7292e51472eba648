"""Two sides of the same prompts: pairs, differences, votes."""

import json
from pathlib import Path

import pytest
from textual.pilot import Pilot

from driving import drive, screen_lines, shown
from recorded import append, append_events, write_record
from rlhf_console.runs.focus import OpenRun
from rlhf_console.runs.pairs import Side, by_prompt, good_first_choice, pairs_of, sides_of
from rlhf_console.runs.store import find
from rlhf_console.runs.votes import FILE, Voting, is_turned
from rlhf_console.tui.drawing.word_diff import marked_words, wrapped
from rlhf_sdk.events import Sample, Started, encode_line

PROMPTS = ["TITLE: tea\nTL;DR:", "TITLE: cup\nTL;DR:", "TITLE: sea\nTL;DR:"]
SCORES = {"sft": [1.0, 2.0, 3.0], "ppo": [1.5, 1.0, 6.0]}


def sample(policy: str, index: int, temperature: str = "1") -> Sample:
    return Sample(
        tag=f"eval/{policy}/temperature_{temperature}",
        index=index,
        prompt=PROMPTS[index],
        response=f"{policy} says {index} well",
        reference="the reference",
        metrics={"score": SCORES[policy][index]},
    )


@pytest.fixture
def evaluated(tmp_path: Path) -> Path:
    directory = write_record(tmp_path, "evaluated", plugin="eval")
    append_events(directory, [Started(plugin="eval", total_steps=2)])
    rows = [sample(policy, index, heat) for heat in ("1", "0") for policy in SCORES for index in range(3)]
    append(directory, "samples.jsonl", *map(encode_line, rows))
    return tmp_path


def side(policy: str) -> Side:
    return Side("run", policy, by_prompt(sample(policy, index) for index in range(3)))


def test_pairs_come_by_their_gain() -> None:
    gains = {order: [pair.gain for pair in pairs_of(side("sft"), side("ppo"), order)] for order in
             ("largest gain", "largest loss", "prompt")}  # fmt: skip
    assert gains == {
        "largest gain": [3.0, 0.5, -1.0],
        "largest loss": [-1.0, 0.5, 3.0],
        "prompt": [0.5, -1.0, 3.0],
    }


def test_sides_are_policies_of_an_evaluation_and_the_first_two_alike_are_compared(evaluated: Path) -> None:
    run = OpenRun(find(evaluated, "evaluated"))
    while run.read():
        pass
    sides = sides_of(run)
    assert [side.name for side in sides] == [
        "eval/sft/temperature_1", "eval/ppo/temperature_1", "eval/sft/temperature_0", "eval/ppo/temperature_0",
    ]  # fmt: skip
    assert good_first_choice(sides) == (0, 1)
    assert good_first_choice(sides[1:]) == (1, 2)


def test_words_that_only_one_has_are_marked_in_both() -> None:
    left, right = marked_words("the cat sat down", "the dog sat")
    assert left == [("the", ""), ("cat", "removed"), ("sat", ""), ("down", "removed")]
    assert right == [("the", ""), ("dog", "added"), ("sat", "")]
    assert marked_words("same words", "same words")[0] == [("same", ""), ("words", "")]


def test_marked_words_are_wrapped_and_escaped() -> None:
    rows = ["".join(cell for cell, _ in row) for row in wrapped([("ab", ""), ("cd", "added"), ("x" * 7, "")], 5)]
    assert rows == ["ab cd", "xxxxx", "xx"]
    assert "".join(cell for cell, _ in wrapped([("\x1bz", "")], 20)[0]) == "\\x1bz"


def test_a_vote_becomes_a_comparison_that_training_can_read(tmp_path: Path) -> None:
    pair = pairs_of(side("sft"), side("ppo"), "prompt")[0]
    voting = Voting(tmp_path)
    voting.vote(pair, (side("sft"), side("ppo")), "right", blind=True, note="shorter")
    voting.vote(pair, (side("sft"), side("ppo")), "both_bad", blind=False)
    first, second = map(json.loads, (tmp_path / FILE).read_text().splitlines())
    assert (first["chosen"], first["rejected"]) == ("ppo says 0 well", "sft says 0 well")
    assert (first["prompt"], first["policies"], first["note"], first["blind"]) == (
        PROMPTS[0], ["run sft", "run ppo"], "shorter", True,
    )  # fmt: skip
    assert (second["chosen"], second["rejected"], second["verdict"]) == (None, None, "both_bad")


def test_blind_pairs_are_turned_like_a_coin_and_always_the_same_way() -> None:
    turned = [is_turned(f"prompt {number}", ("a", "b")) for number in range(400)]
    assert 150 < sum(turned) < 250
    assert turned == [is_turned(f"prompt {number}", ("b", "a")) for number in range(400)]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 55)])
def test_comparing_diffing_and_voting_blind(evaluated: Path, size: tuple[int, int]) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "evaluated")
        await pilot.press("d")
        await shown(pilot, "largest gain", "sea", "+3", "sft says 2 well", "ppo says 2 well", "the reference", "1 of 3")
        await pilot.press("z", "home")
        lines = await shown(pilot, "left", "right", "? against ?")
        assert not any(word in "".join(lines) for word in ("temperature_1", "score", "the reference"))
        await pilot.press("m", *"nice", "enter")
        await shown(pilot, "note: nice", "1 of 3")
        first_line = next(line for line in screen_lines(pilot) if "says" in line)
        left = "sft" if first_line.index("sft") < first_line.index("ppo") else "ppo"
        await pilot.press("1")
        await shown(pilot, "2 of 3")
        vote = json.loads((evaluated / FILE).read_text())
        assert vote["chosen"].startswith(left) and vote["policies"][0].startswith(f"evaluated eval/{left}")
        assert vote["blind"] and vote["note"] == "nice"

    drive(evaluated, script, run="evaluated", size=size)
