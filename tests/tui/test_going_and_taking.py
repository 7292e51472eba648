"""Going anywhere by letters or by name, and taking along what is seen: clipboard, pager, picture."""

import subprocess
import sys
from pathlib import Path

import pytest
from textual.pilot import Pilot

from driving import drive, screen_lines, shown
from recorded import HOSTILE, PROMPT, RESPONSE, write_healthy, write_pipeline, write_spoiled
from rlhf_console.tui.outside import MOST_COPIED, for_clipboard, page, save_picture
from rlhf_console.tui.screens.jump import Letters
from rlhf_console.tui.screens.run import RunScreen
from rlhf_console.tui.widgets.pick_list import PickList
from rlhf_console.tui.widgets.targets import LETTERS, labels
from rlhf_sdk.trainer import UserError


def letters_at(pilot: Pilot[None], text: str) -> str:
    """What to type to go to the place where `text` begins."""
    lines = screen_lines(pilot)
    for each in pilot.app.screen.query(Letters):
        x, y = each.target.place
        if (lines[y][:x] + each.letters + text[len(each.letters) :]) == lines[y][: x + len(text)]:
            return each.letters
    raise AssertionError(f"no letters at {text}:\n" + "\n".join(lines))


@pytest.mark.parametrize("count", [0, 1, 26, 27, 700])
def test_letters_are_few_different_and_none_begins_another(count: int) -> None:
    found = labels(count)
    assert len(set(found)) == count and len({len(each) for each in found}) <= 1
    assert all(len(each) == (1 if count <= 26 else 2 if count <= 676 else 3) for each in found)
    assert set("".join(found)) <= set(LETTERS)


def test_letters_lead_to_tabs_stages_rows_and_charts(tmp_path: Path) -> None:
    write_pipeline(tmp_path)

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "3 runs")
        await pilot.press("ctrl+o")
        await pilot.pause(0.1)
        await pilot.press(*letters_at(pilot, "  └ ppo"), "enter")
        await shown(pilot, "step 26/26", "KL to the SFT policy", "1 of 4")
        await pilot.press("ctrl+o")
        await pilot.pause(0.1)
        await pilot.press(*letters_at(pilot, " KL to the SFT"))
        await shown(pilot, "2 of 4")
        await pilot.press("ctrl+o")
        await pilot.pause(0.1)
        await pilot.press(*letters_at(pilot, "Samples"))
        await shown(pilot, "1 of 26", "update 26")
        await pilot.press("ctrl+o", "escape", "down")
        await shown(pilot, "2 of 26", "update 25")

    drive(tmp_path, script, size=(80, 24))


def test_more_places_than_letters_are_reached_by_two(tmp_path: Path) -> None:
    for number in range(40):
        write_healthy(tmp_path, f"run-{number:02}", created=2e9 - number)

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "40 runs", "run-39")
        await pilot.press("ctrl+o")
        await pilot.pause(0.1)
        typed = letters_at(pilot, "run-31")
        await pilot.press(typed[0])
        await pilot.pause()
        shown_still = [each.letters for each in pilot.app.screen.query(Letters) if each.display]
        assert len(typed) == 2 and all(letters.startswith(typed[0]) for letters in shown_still)
        await pilot.press(typed[1])
        await pilot.pause()
        runs = pilot.app.screen.query_one("#runs", PickList)
        assert runs.item is not None and runs.item.record.id == "run-31"

    drive(tmp_path, script, size=(120, 50))


def test_the_palette_goes_to_actions_views_and_runs(tmp_path: Path) -> None:
    write_healthy(tmp_path)
    write_healthy(tmp_path, "another-run")

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "2 runs")
        await pilot.press("ctrl+p", *"another")
        await shown(pilot, "go to this run")
        await pilot.press("down", "enter")
        await shown(pilot, "✓ finished  another-run", "step 26/26")
        assert isinstance(pilot.app.screen, RunScreen)
        await pilot.press("ctrl+p", *"Samp")
        await shown(pilot, "key 2")
        await pilot.press("down", "enter")
        await shown(pilot, "1 of 26")

    drive(tmp_path, script)


def test_a_path_a_command_and_a_sample_are_copied(tmp_path: Path) -> None:
    directory = write_healthy(tmp_path)

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "26/26")
        await pilot.press("y")
        assert pilot.app.clipboard == str(directory)
        await pilot.press("Y")
        assert pilot.app.clipboard == f"rlhf-console ppo-healthy --runs {tmp_path}"
        await pilot.press("enter", "2")
        await shown(pilot, "1 of 26")
        await pilot.press("down", "y")
        await shown(pilot, "copied prompt and")
        assert PROMPT in pilot.app.clipboard and f"{RESPONSE} update 25" in pilot.app.clipboard
        await pilot.press("7", "y")
        await pilot.pause()
        assert pilot.app.clipboard.startswith("ppo")

    drive(tmp_path, script)


def test_what_is_copied_can_do_no_harm_where_it_is_pasted(tmp_path: Path) -> None:
    write_spoiled(tmp_path)

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "✗ failed")
        await pilot.press("2")
        await shown(pilot, "1 of 1")
        await pilot.press("y")
        assert "\\x1b[31mred" in pilot.app.clipboard
        assert not any((ord(sign) < 32 and sign != "\n") or sign == "\u202e" for sign in pilot.app.clipboard)

    drive(tmp_path, script, run="ppo-spoiled")


def test_the_clipboard_gets_no_more_than_terminals_take_and_no_half_letter() -> None:
    long = for_clipboard("ä" * MOST_COPIED)
    assert len(long.encode()) == MOST_COPIED and set(long) == {"ä"}


def test_the_pager_reads_every_line_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = tmp_path / "read.txt"
    monkeypatch.setenv("PAGER", f"{sys.executable} -c \"import sys; open('{read}', 'w').write(sys.stdin.read())\"")
    page(["first", HOSTILE])
    assert read.read_text().startswith("first\n\\x1b[31mred") and "\x1b" not in read.read_text()


def test_a_pager_may_be_left_before_the_end_or_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER", "head -n 1")
    head = subprocess.run(
        [sys.executable, "-c", "from rlhf_console.tui.outside import page; page(map(str, range(10**6)))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (head.stdout, head.stderr) == ("0\n", "")
    monkeypatch.setenv("PAGER", "no-such-pager")
    with pytest.raises(UserError, match="no-such-pager: No such file"):
        page(["text"])


def test_a_picture_of_the_screen_is_written_and_nothing_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_healthy(tmp_path)
    folder = tmp_path / "pictures"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr("time.strftime", lambda *_: "picture.svg")

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "✓ finished")
        await pilot.press("ctrl+g")
        await shown(pilot, "saved")
        await pilot.press("ctrl+g")
        await shown(pilot, "File exists")

    drive(tmp_path, script)
    svg = (folder / "picture.svg").read_text()
    assert svg.startswith("<svg") and "ppo-healthy" in svg and "@font-face" not in svg
    with pytest.raises(UserError, match="No such file"):
        save_picture("<svg/>", tmp_path / "nowhere")
