"""The labeller, by keys, on a terminal of 80 x 24."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from driving import screen_lines, shown
from recorded import HOSTILE
from rlhf_console.runs.label_pairs import Pair
from rlhf_console.runs.labelling import Labelling
from rlhf_console.tui.labelling import LabelApp
from rlhf_sdk.preferences import FILE, PreferenceStore
from snapshots import check, snapshot

NAMES = ("secret-sft", "secret-ppo")
FIGURES = {"score": 1.0}, {"score": 2.0}
POST = "TITLE: tea {}\nPOST: which one ?\nTL;DR:"


def pairs(count: int, prompt: str = POST) -> list[Pair]:
    return [
        Pair(prompt.format(n), (f"green {n} is better", f"black {n} is best"), NAMES, None, FIGURES)
        for n in range(count)
    ]


def play(
    root: Path,
    given: list[Pair],
    script: Callable[[Pilot[None]], Awaitable[None]],
    *,
    size: tuple[int, int] = (80, 24),
    share: float = 0.0,
) -> None:
    async def run() -> None:
        app = LabelApp(Labelling(PreferenceStore(root), given, "anna", repeat_share=share))
        async with app.run_test(size=size, notifications=True) as pilot:
            await script(pilot)

    asyncio.run(run())


def votes(root: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (root / FILE).read_text().splitlines()]


def stands_left(lines: list[str]) -> str:
    """The first word of the response on the left."""
    head = next(place for place, line in enumerate(lines) if line.startswith("left"))
    return lines[head + 1].split()[0]


def test_one_key_a_vote_and_nobody_is_told_whose_it_was(tmp_path: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        lines = await shown(pilot, "0 of 3", "tea 0", "which one ?", "left", "right", "1 Left", "u Undo", "q Quit")
        left = stands_left(lines)
        await pilot.press("1")
        await shown(pilot, "1 of 3", "tea 1", "kept: left")
        assert votes(tmp_path)[0]["chosen"] == f"{left} 0 is " + {"green": "better", "black": "best"}[left]
        await pilot.press("m", *"both odd", "enter")
        await shown(pilot, "note: both odd")
        await pilot.press("t")
        await shown(pilot, "2 of 3", "tea 2", "kept: tie")
        await pilot.press("right")
        lines = await shown(pilot, "3 of 3", "no pair is left: 3 votes of anna", "anna", "labeller", "accuracy")
        said = [(vote["verdict"], vote["note"], vote["labeller"]) for vote in votes(tmp_path)]
        assert said == [("left", "", "anna"), ("tie", "both odd", "anna"), ("right", "", "anna")]
        assert not any("secret" in line or "score 1" in line for line in lines)

    play(tmp_path, pairs(3), script)


def test_skips_and_slips_are_taken_back_and_a_later_session_goes_on(tmp_path: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "0 of 3", "tea 0")
        await pilot.press("1")
        await shown(pilot, "1 of 3", "tea 1")
        await pilot.press("u")
        await shown(pilot, "0 of 3", "tea 0", "taken back: vote again")
        await pilot.press("s")
        await shown(pilot, "0 of 2", "tea 1", "1 skipped")
        await pilot.press("2")
        await shown(pilot, "1 of 2", "tea 2")
        await pilot.press("u", "u")
        await shown(pilot, "0 of 3", "tea 0")
        await pilot.press("u")
        await shown(pilot, "nothing to take back")
        await pilot.press("4")
        await shown(pilot, "1 of 3", "tea 1", "kept: both bad")

    async def later(pilot: Pilot[None]) -> None:
        await shown(pilot, "1 of 3", "tea 1")
        await pilot.press("u")
        await shown(pilot, "0 of 3", "tea 0")

    play(tmp_path, pairs(3), script)
    play(tmp_path, pairs(3), later)


def test_a_long_post_is_read_on_and_words_that_differ_are_marked(tmp_path: Path) -> None:
    long = "TITLE: tea {}\n" + "\n".join(f"line {n} of the post" for n in range(40)) + "\nTL;DR:"

    async def script(pilot: Pilot[None]) -> None:
        lines = await shown(pilot, "tea 0", "line 10", "more rows of the prompt: space")
        assert not any("line 39" in line for line in lines)
        await pilot.press("space", "space", "space")
        lines = await shown(pilot, "line 39", "TL;DR:", "green 0 is better", "black 0 is best")
        assert not any("more rows" in line for line in lines)
        await pilot.press("b")
        await shown(pilot, "more rows of the prompt: space")
        await pilot.press("d", "1")
        await shown(pilot, "tea 1", "line 10", "green 1 is better")

    play(tmp_path, pairs(2, long), script)


def test_long_responses_leave_room_for_the_prompt(tmp_path: Path) -> None:
    words = " ".join(f"word{n}" for n in range(200))
    given = [Pair("TITLE: tea\nTL;DR:", (words, f"{words} end"), NAMES)]

    async def script(pilot: Pilot[None]) -> None:
        lines = await shown(pilot, "TITLE: tea", "word0", "0 of 1")
        assert not any("word199" in line for line in lines)
        await pilot.press(*["down"] * 30)
        await shown(pilot, "TITLE: tea", "word199", "end")

    play(tmp_path, given, script)


def test_what_cannot_be_kept_is_said_and_shown_again(tmp_path: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "0 of 1", "tea 0")
        (tmp_path / FILE).mkdir()
        await pilot.press("1")
        await shown(pilot, "0 of 1", "tea 0")
        (said,) = [notice.message for notice in pilot.app._notifications]
        assert said.endswith("preferences.jsonl: Is a directory")
        (tmp_path / FILE).rmdir()
        await pilot.press("1")
        await shown(pilot, "no pair is left")

    play(tmp_path, pairs(1), script)


def test_hostile_text_is_shown_as_what_it_is(tmp_path: Path) -> None:
    given = [Pair(HOSTILE, (f"a {HOSTILE}", f"b {HOSTILE}"), (HOSTILE, HOSTILE))]

    async def script(pilot: Pilot[None]) -> None:
        lines = await shown(pilot, "\\x1b[31mred", "[bold]not markup[/bold]")
        assert not any("\x1b" in line or "\u202e" in line for line in lines)
        await pilot.press("d", "m", *"[red]", "enter", "1")
        await shown(pilot, "no pair is left")

    play(tmp_path, given, script)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 55)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_labeller_looks_as_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    moments = iter(range(1000))
    monkeypatch.setattr("rlhf_sdk.preferences.time.time", lambda: 1.8e9 + 12.0 * next(moments))
    folder = f"{size[0]}x{size[1]}"

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "0 of 4")
        await pilot.press("1", "2", "m", *"both odd", "enter")
        found = check(f"{folder}/label", await snapshot(pilot, ["dark", "light"], "2 of 4", "note: both odd"))
        await pilot.press("3", "s")
        found += check(f"{folder}/label-end", await snapshot(pilot, ["dark", "light"], "no pair is left"))
        assert not found, "\n".join([*found, "if it is meant: make snapshots"])

    play(tmp_path, pairs(4), script, size=size)


def test_the_screen_stays_whole_when_it_becomes_small(tmp_path: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "0 of 2", "tea 0")
        for size in ((40, 10), (20, 5), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause(0.2)
        await shown(pilot, "0 of 2", "tea 0", "green 0 is better", "1 Left")
        assert len(screen_lines(pilot)) == 24

    play(tmp_path, pairs(2), script)
