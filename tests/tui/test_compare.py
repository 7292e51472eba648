"""Sides of the same prompts: matches, differences, votes."""

import json
from pathlib import Path

import pytest
from textual.pilot import Pilot

from driving import drive, screen_lines, shown
from recorded import append, append_events, write_record
from rlhf_console.runs.focus import OpenRun
from rlhf_console.runs.pairs import Side, good_first_choice, labels_of, matches_of, means_of, sides_of
from rlhf_console.runs.store import find
from rlhf_console.runs.votes import Voting, is_turned
from rlhf_console.tui.drawing.comparison import pair_rows
from rlhf_console.tui.drawing.word_diff import added_words, marked_words, wrapped
from rlhf_sdk.events import Sample, Started, encode_line
from rlhf_sdk.preferences import FILE

PROMPTS = ["TITLE: tea\nTL;DR:", "TITLE: cup\nTL;DR:", "TITLE: sea\nTL;DR:"]
SCORES = {"sft": [1.0, 2.0, 3.0], "ppo": [1.5, 1.0, 6.0], "dpo": [1.0, 1.0, 1.0]}


def sample(policy: str, index: int, temperature: str = "1") -> Sample:
    return Sample(
        tag=f"eval/{policy}/temperature_{temperature}",
        index=index,
        prompt=PROMPTS[index],
        response=f"{policy} says {index} well",
        reference="the reference",
        metrics={"score": SCORES[policy][index]},
    )


def rollout(step: int, prompt: int, score: float) -> Sample:
    text, said = PROMPTS[prompt], f"at {step} about {prompt}"
    return Sample(
        seq=step * 10 + prompt, step=step, tag="rollout", index=prompt, prompt=text, response=said, ended=step > 0,
        metrics={"score": score},
    )  # fmt: skip


@pytest.fixture
def evaluated(tmp_path: Path) -> Path:
    directory = write_record(tmp_path, "evaluated", plugin="eval")
    append_events(directory, [Started(plugin="eval", total_steps=2)])
    rows = [sample(policy, index, heat) for heat in ("1", "0") for policy in SCORES for index in range(3)]
    append(directory, "samples.jsonl", *map(encode_line, rows))
    return tmp_path


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """Two runs: "long" answers the first prompt at steps 0, 1 and 2, the second at 1 alone; "other" both at 0."""
    scores = {"long": [(0, 0, 1.0), (1, 0, 3.0), (1, 1, 5.0), (2, 0, 2.0)], "other": [(0, 0, 9.0), (0, 1, 4.0)]}
    for number, (name, rows) in enumerate(scores.items()):
        directory = write_record(tmp_path, name, created=float(number))
        append_events(directory, [Started(plugin="ppo", total_steps=3)])
        append(directory, "samples.jsonl", *(encode_line(rollout(*row)) for row in rows))
    return tmp_path


def opened(root: Path, name: str) -> OpenRun:
    run = OpenRun(find(root, name))
    run.samples.browse()
    while run.read():
        pass
    return run


def sides(root: Path, *policies: str) -> list[Side]:
    every = {side.name: side for side in sides_of(opened(root, "evaluated"))}
    return [every[f"eval/{policy}/temperature_1"] for policy in policies]


def test_matches_come_by_their_gain(evaluated: Path) -> None:
    pair = sides(evaluated, "sft", "ppo")
    orders = ("largest gain", "largest loss", "prompt")
    assert {order: [match.gain for match in matches_of(pair, order)] for order in orders} == {
        "largest gain": [3.0, 0.5, -1.0],
        "largest loss": [-1.0, 0.5, 3.0],
        "prompt": [0.5, -1.0, 3.0],
    }
    three = sides(evaluated, "sft", "ppo", "dpo")
    assert [match.gain for match in matches_of(three, "prompt")] == [0.0, -1.0, -2.0]
    assert [means.figures["score"] for means in means_of(three, matches_of(three, "prompt"))] == pytest.approx(
        [2.0, 8.5 / 3, 1.0]
    )


def test_sides_are_policies_of_an_evaluation_and_the_first_two_alike_are_compared(evaluated: Path) -> None:
    every = sides_of(opened(evaluated, "evaluated"))
    policies = [f"eval/{policy}/temperature_{heat}" for heat in "10" for policy in SCORES]
    assert [side.name for side in every] == policies
    assert good_first_choice(every) == tuple(every[:2])
    assert good_first_choice(every[2:]) == tuple(every[3:5])


def test_sides_are_steps_of_a_training_run_and_the_same_prompt_is_followed(trained: Path) -> None:
    every = sides_of(opened(trained, "long"))
    assert [side.name for side in every] == [
        f"rollout {when}" for when in ("first", "newest", "step 0", "step 1", "step 2")
    ]
    first, newest, *steps = every
    assert good_first_choice(every) == (first, newest)
    assert [match.gain for match in matches_of((first, newest), "largest gain")] == [1.0]
    assert [match.gain for match in matches_of((steps[0], steps[1], steps[2]), "prompt")] == [1.0]
    assert means_of((first, newest), matches_of((first, newest), "prompt"))[0].ended == 0.0


def test_of_several_runs_the_newest_are_compared(trained: Path) -> None:
    every = [side for name in ("long", "other") for side in sides_of(opened(trained, name))]
    chosen = good_first_choice(every)
    assert labels_of(chosen) == ("long rollout newest", "other rollout")
    assert [match.gain for match in matches_of(chosen, "largest gain")] == [7.0, -1.0]
    third = write_record(trained, "third")
    append_events(third, [Started(plugin="ppo", total_steps=1)])
    append(third, "samples.jsonl", encode_line(rollout(0, 1, 2.0)))
    three = good_first_choice([*every, *sides_of(opened(trained, "third"))])
    assert [side.run_id for side in three] == ["long", "other", "third"]
    assert [match.gain for match in matches_of(three, "largest gain")] == [-3.0]


def test_words_that_only_one_has_are_marked_in_both() -> None:
    left, right = marked_words("the cat sat down", "the dog sat")
    assert left == [("the", ""), ("cat", "removed"), ("sat", ""), ("down", "removed")]
    assert right == [("the", ""), ("dog", "added"), ("sat", "")]
    assert marked_words("same words", "same words")[0] == [("same", ""), ("words", "")]


def test_marked_words_are_wrapped_and_escaped() -> None:
    rows = ["".join(cell for cell, _ in row) for row in wrapped([("ab", ""), ("cd", "added"), ("x" * 7, "")], 5)]
    assert rows == ["ab cd", "xxxxx", "xx"]
    assert "".join(cell for cell, _ in wrapped([("\x1bz", "")], 20)[0]) == "\\x1bz"


def test_what_the_first_has_not_is_marked_in_the_others() -> None:
    assert added_words("a b d", "a c b") == [("a", ""), ("c", "added"), ("b", "")]


def test_three_responses_stand_beside_each_other() -> None:
    samples = [sample(policy, 0) for policy in SCORES]
    rows = ["".join(cell for cell, _ in row) for row in pair_rows(samples, list(SCORES), 80, diff=True, blind=False)]
    (said,) = [row for row in rows if "sft says 0 well" in row]
    assert [part.strip() for part in said.split("│")] == [f"{policy} says 0 well" for policy in SCORES]
    assert {len(row) for row in rows if "│" in row} == {78}


def test_a_vote_is_kept_with_where_its_responses_are_from(
    evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLHF_LABELLER", "anna")
    pair = sample("sft", 0), sample("ppo", 0)
    left, right = sides(evaluated, "sft", "ppo")
    labels = left.label, right.label
    voting = Voting(tmp_path)
    voting.vote(pair, (left, right), "right", blind=True, note="shorter")
    voting.vote(pair, (left, right), "both_bad", blind=False)
    assert not voting.has_vote(PROMPTS[0], labels)
    voting.refresh()
    assert voting.has_vote(PROMPTS[0], labels[::-1]) and not voting.has_vote(PROMPTS[1], labels)
    first, second = map(json.loads, (tmp_path / FILE).read_text().splitlines())
    assert (first["chosen"], first["rejected"]) == ("ppo says 0 well", "sft says 0 well")
    assert (first["prompt"], first["policies"], first["note"], first["blind"]) == (
        PROMPTS[0], list(labels), "shorter", True,
    )  # fmt: skip
    source = {"run": "evaluated", "tag": "eval/sft/temperature_1", "step": 0, "index": 0, "policy": left.label}
    assert (first["sources"][0], first["figures"], first["labeller"]) == (
        source, [{"score": 1.0}, {"score": 1.5}], "anna",
    )  # fmt: skip
    assert (second["chosen"], second["rejected"], second["verdict"]) == (None, None, "both_bad")


def test_blind_pairs_are_turned_like_a_coin_and_always_the_same_way() -> None:
    turned = [is_turned(f"prompt {number}", ("a", "b")) for number in range(400)]
    assert 150 < sum(turned) < 250
    assert turned == [is_turned(f"prompt {number}", ("b", "a")) for number in range(400)]


@pytest.mark.parametrize("size", [(80, 24), (200, 55)])
def test_comparing_diffing_and_voting_blind(evaluated: Path, size: tuple[int, int]) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "evaluated")
        await pilot.press("d")
        said = ("sft says 2 well", "ppo says 2 well", "the reference")
        await shown(pilot, "largest gain", "sea", "+3", *said, "1 of 3", "▲2 ▼1", "score 2 → 2.833")
        await pilot.press("z", "home")
        lines = await shown(pilot, "left", "right", "? against ?")
        assert not any(word in "".join(lines) for word in ("temperature_1", "score", "the reference", "+3"))
        await pilot.press("m", *"nice", "enter")
        await shown(pilot, "note: nice", "1 of 3")
        first_line = next(line for line in screen_lines(pilot) if "says" in line)
        left = "sft" if first_line.index("sft") < first_line.index("ppo") else "ppo"
        await pilot.press("1")
        await shown(pilot, "2 of 3", "✓ tea")
        vote = json.loads((evaluated / FILE).read_text())
        assert vote["chosen"].startswith(left) and vote["policies"][0].startswith(f"evaluated eval/{left}")
        assert vote["blind"] and vote["note"] == "nice"

    drive(evaluated, script, run="evaluated", size=size)


def test_nobody_votes_in_a_console_that_only_watches(evaluated: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "evaluated")
        await pilot.press("d")
        lines = await shown(pilot, "1 of 3")
        assert not any("both bad" in line for line in lines)
        await pilot.press("1", "m")
        await shown(pilot, "1 of 3")
        assert not (evaluated / FILE).exists()

    drive(evaluated, script, run="evaluated", readonly=True)


def test_three_sides_are_chosen_from_a_list(evaluated: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "evaluated")
        await pilot.press("d")
        await shown(pilot, "1 of 3")
        await pilot.press("s")
        await shown(pilot, "1 eval/sft/temperature_1", "2 eval/ppo/temperature_1", "3 of 3 prompts shared")
        await pilot.press("down", "down", "space", "enter", "home")
        await shown(pilot, "sft says 0 well", "ppo says 0 well", "dpo says 0 well", "score 2 → 2.833 → 1")
        await pilot.press("1", "z")
        await shown(pilot, "blind votes are on two sides")
        assert not (evaluated / FILE).exists()
        await pilot.press("]")
        await shown(pilot, "temperature_1 against eval/ppo/temperature_1 against eval/sft/temperature_0")

    drive(evaluated, script, run="evaluated")
