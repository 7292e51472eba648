"""Logs of any size: their lines, their ends, and what is looked for in them."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot

from driving import drive, shown
from recorded import append_events, write_record
from rlhf_console.runs import log_file, log_matches
from rlhf_console.runs.log_file import LogFile
from rlhf_console.runs.log_matches import Level, LogMatches, level_of
from rlhf_sdk.events import Started, StateChanged

SMALL = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
parts = st.lists(st.lists(st.sampled_from([b"a\n", b"\n", b"long line\n", b"half", b"xx"]), max_size=12), max_size=4)


def whole_lines(data: bytes) -> list[str]:
    return [line.decode() for line in data.split(b"\n")[:-1]]


@SMALL
@given(parts=parts, piece=st.integers(1, 9))
def test_lines_are_those_of_the_file_wherever_a_piece_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: list[list[bytes]], piece: int
) -> None:
    monkeypatch.setattr(log_file, "PIECE", piece)
    path = tmp_path / "log"
    path.write_bytes(b"")
    log = LogFile(path)
    for part in parts:
        with path.open("ab") as stream:
            stream.write(b"".join(part))
        while log.read():
            pass
        assert [log.line(index) for index in range(len(log))] == whole_lines(path.read_bytes())


def test_the_end_of_a_long_log_is_there_before_it_has_been_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file, "PIECES_AT_ONCE", 1)
    path = tmp_path / "log"
    path.write_bytes(b"".join(b"line %d\n" % number for number in range(100_000)))
    log = LogFile(path)
    assert log.read() and not log.counted
    assert 0 < len(log) < 100_000 and log.line(len(log) - 1) == "line 99999"
    while log.read():
        pass
    assert (log.counted, len(log), log.line(50_000)) == (True, 100_000, "line 50000")


@SMALL
@given(parts=parts, piece=st.integers(10, 40), words=st.sampled_from(["a", "LONG", "x"]))
def test_found_lines_are_those_that_have_the_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: list[list[bytes]], piece: int, words: str
) -> None:
    monkeypatch.setattr(log_matches, "PIECE", piece)
    path = tmp_path / "log"
    path.write_bytes(b"".join(b"".join(part) for part in parts))
    lines = whole_lines(path.read_bytes())
    if any(len(line) >= piece for line in path.read_bytes().split(b"\n")):
        return
    found = LogMatches(path, words, "all")
    while found.read():
        pass
    wanted = [(number, line) for number, line in enumerate(lines) if words.lower() in line.lower()]
    assert [found.line(index) for index in range(len(found))] == wanted


def test_of_very_many_found_lines_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_matches, "MOST", 3)
    path = tmp_path / "log"
    path.write_bytes(b"".join(b"found %d\n" % number for number in range(10)))
    found = LogMatches(path, "found", "all")
    found.read()
    assert [found.line(index) for index in range(len(found))] == [(7, "found 7"), (8, "found 8"), (9, "found 9")]


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("step 3 loss 0.5", "all"),
        ("UserWarning: slow path", "warning"),
        ("[WARNING] disk", "warning"),
        ("torch.OutOfMemoryError: CUDA", "error"),
        ("Traceback (most recent call last):", "error"),
        ("mirrored errors_total=0", "all"),
        ("terror", "all"),
    ],
)
def test_a_line_has_the_level_of_its_words(line: str, level: Level) -> None:
    assert level_of(line) == level


def test_words_are_looked_for_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a.c\nabc\n[x](\n")
    found = {words: LogMatches(path, words, "all") for words in ("a.c", "[x](", "ABC")}
    for each in found.values():
        each.read()
    assert [len(each) for each in found.values()] == [1, 1, 1]
    assert re.search("a.c", "abc"), "as a pattern it would find both"


def test_trouble_alone_then_words_then_all_around_the_line(tmp_path: Path) -> None:
    directory = write_record(tmp_path, "talkative")
    append_events(directory, [Started(plugin="echo", total_steps=1), StateChanged(state="running")])
    lines = [b"step %d\n" % number for number in range(500)]
    lines[100], lines[300], lines[400] = b"UserWarning: odd\n", b"ValueError: bad\n", b"warning: needle\n"
    (directory / "output.log").write_bytes(b"".join(lines))

    async def script(pilot: Pilot[None]) -> None:
        await pilot.press("6")
        await shown(pilot, "500 lines", "step 499")
        await pilot.press("w")
        await shown(pilot, "warnings", "3 found", "101  UserWarning: odd", "301  ValueError: bad")
        await pilot.press("slash", *"needle", "enter")
        await shown(pilot, "/needle/", "1 found", "401  warning: needle")
        await pilot.press("w")
        await shown(pilot, "errors", "0 found", "no such line")
        await pilot.press("w")
        await shown(pilot, "/needle/", "1 found")
        await pilot.press("escape")
        await shown(pilot, "500 lines", "warning: needle", "step 401")
        await pilot.press("0")
        await shown(pilot, "step 499")

    drive(tmp_path, script, run="talkative")


def test_where_nothing_was_printed_that_is_said(tmp_path: Path) -> None:
    directory = write_record(tmp_path, "silent")
    append_events(directory, [Started(plugin="echo", total_steps=1), StateChanged(state="running")])

    async def script(pilot: Pilot[None]) -> None:
        await pilot.press("6")
        await shown(pilot, "nothing was printed yet")

    drive(tmp_path, script, run="silent")
