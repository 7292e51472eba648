"""The samples of a run: ordered, searched, followed, and token by token."""

from pathlib import Path

import pytest
from textual.pilot import Pilot

from driving import drive, screen_lines, shown
from recorded import append, append_events, ppo_update, write_record
from rlhf_console.tui.widgets.pick_list import PickList
from rlhf_sdk.events import Sample, Started, StateChanged, encode_line

SIZES = [(80, 24), (120, 40)]
UPDATES, PROMPTS = 12, ["tea", "cup", "sea"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve updates; the sample of update 1 is the lowest, that of 7 has the most KL, that of 5 is the longest and has
    no EOS, that of 9 copies its title."""
    directory = write_record(tmp_path, "ppo-samples")
    started = [Started(plugin="ppo", total_steps=UPDATES), StateChanged(state="running")]
    append_events(directory, [*started, *(event for step in range(1, UPDATES + 1) for event in ppo_update(step))])
    append(directory, "samples.jsonl", *(encode_line(rollout(update)) for update in range(1, UPDATES + 1)))
    return tmp_path


def rollout(update: int) -> Sample:
    word = PROMPTS[update % 3]
    said = f"the whole {word} title" if update == 9 else f"wrote {update}"
    return Sample(
        seq=update, step=update - 1, tag="rollout", index=update % 3, prompt=f"TITLE: the whole {word} title\nTL;DR:",
        response=said, reference="of somebody", ended=update != 5,
        metrics={
            "score": float(update), "kl/sequence_nats": 5.0 if update == 7 else 0.1,
            "response_tokens": 40.0 if update == 5 else 3.0,
        },
        token_ends=[3, len(said), len(said)],
        token_values={"kl_nats": [0.5, -0.25, 0.0], "value": [1.0, 2.0, 3.0]},
    )  # fmt: skip


def first_listed(pilot: Pilot[None]) -> str:
    lines = screen_lines(pilot)
    heading = next(place for place, line in enumerate(lines) if "EOS  response" in line)
    return lines[heading + 1]


def count(pilot: Pilot[None]) -> int:
    """Of the samples listed."""
    return pilot.app.screen.query_one("#sample-list", PickList).count


def test_every_order_shows_its_sample_first(root: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "step 12/12")
        await pilot.press("2")
        await shown(pilot, "1 of 12", "wrote 12", "of somebody")
        firsts = {"lowest score": "wrote 1", "highest KL": "wrote 7", "longest": "wrote 5", "no EOS": "wrote 5"}
        for order, first in firsts.items():
            await pilot.press("o")
            await shown(pilot, f"── {order}")
            assert first_listed(pilot).rstrip().endswith(first), order
        assert count(pilot) == 1
        await pilot.press("o")
        await shown(pilot, "100% of title", "longest run of the title's words")
        assert "the whole sea title" in first_listed(pilot) or "the whole tea title" in first_listed(pilot)
        await pilot.press("escape")
        await shown(pilot, "── newest", "1 of 12")

    drive(root, script, run="ppo-samples", size=(80, 24))


def test_words_one_prompt_and_steps(root: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "step 12/12")
        await pilot.press("2", "/", *"Sea wrote 1", "enter")
        await shown(pilot, "with Sea wrote 1", "wrote 11")
        assert count(pilot) == 1
        await pilot.press("0")
        await shown(pilot, "1 of 12")
        await pilot.press("t")
        lines = await shown(pilot, "one prompt through time", "1 of 4", "wrote 12", "wrote 3")
        assert not any("wrote 11" in line for line in lines)
        await pilot.press("t", "comma")
        await shown(pilot, "after 11 updates")
        assert count(pilot) == 1
        await pilot.press("comma", "comma")
        await shown(pilot, "after 9 updates", "wrote 10")
        await pilot.press("full_stop")
        await shown(pilot, "after 10 updates", "wrote 11")

    drive(root, script, run="ppo-samples")


@pytest.mark.parametrize("size", SIZES)
def test_the_figures_of_tokens_and_of_the_one_under_the_cursor(root: Path, size: tuple[int, int]) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "step 12/12")
        await pilot.press("2")
        await shown(pilot, "wrote 12")
        await pilot.press("h")
        await shown(
            pilot, "KL to the reference, nats  -0.500 -9", 'token 1 of 3 "wro"', "wrote 12⟨EOS⟩", "+9 -4", "of somebody"
        )
        await pilot.press("right", "h")
        await shown(pilot, "value before the token", 'token 2 of 3 "te 12"', "kl_nats -0.250", "value +2")
        await pilot.press("enter")
        await pilot.pause(0.1)
        assert not any("EOS  response" in line for line in screen_lines(pilot))
        await pilot.press("h", "escape")
        await shown(pilot, "response   wrote 12", "EOS  response")

    drive(root, script, run="ppo-samples", size=size)


def test_the_crosshair_and_the_samples_are_of_one_step(root: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "step 12/12", "Reward (points)")
        await pilot.press("shift+left", "shift+left", "2")
        await shown(pilot, "after 10 updates", "response   wrote 11")
        assert count(pilot) == 1
        await pilot.press("comma", "1")
        await shown(pilot, "● score_mean 1 ")

    drive(root, script, run="ppo-samples")


def test_new_samples_come_in_while_one_is_read(root: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "step 12/12")
        await pilot.press("2")
        await shown(pilot, "1 of 12")
        await pilot.press("down", "down")
        await shown(pilot, "3 of 12", "response   wrote 10")
        append(root / "ppo-samples", "samples.jsonl", encode_line(rollout(13)), b"damaged\n")
        await shown(pilot, "4 of 13", "response   wrote 10")
        assert not any("can't be read" in line for line in screen_lines(pilot))
        await pilot.press("o")
        await shown(pilot, "── lowest score", "1 of 13")

    drive(root, script, run="ppo-samples")
