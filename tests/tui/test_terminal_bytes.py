"""What reaches the terminal besides the text: no colour where none is wanted, the clipboard, the pager."""

import base64
import re
import sys
from pathlib import Path

from recorded_runs import write_kl_explosion
from terminal import console

STYLE = re.compile(rb"\x1b\[([\d;]*)m")
CLIPBOARD = re.compile(rb"\x1b\]52;c;([^\x07\x1b]*)(?:\x07|\x1b\\)")
DEFAULT_COLOURS = {39, 49}
ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"


def colours_sent(sent: bytes) -> set[int]:
    """The parameters of style sequences that set a colour, the terminal's default ones left out."""
    numbers = {int(number or 0) for found in STYLE.findall(sent) for number in found.split(b";")}
    return {number for number in numbers if 30 <= number <= 49 or number >= 90} - DEFAULT_COLOURS


def everything_seen(root: Path, **environment: str) -> bytes:
    """Through the list, a run that went wrong, and the keys."""
    terminal = console(root, **environment)
    terminal.shows("✗ failed", "ppo-explosion")
    terminal.press("\r")
    terminal.shows("step 40/200", "KL to the SFT policy", "✗ failed")
    terminal.press("4")
    terminal.shows("✗ fail", "kl_level")
    terminal.press("5")
    terminal.shows("! warning")
    terminal.press("?")
    terminal.shows("Pause/Resume")
    terminal.kill()
    return terminal.sent


def test_no_colour_is_sent_where_none_is_wanted_and_everything_is_still_told(tmp_path: Path) -> None:
    write_kl_explosion(tmp_path)
    assert colours_sent(everything_seen(tmp_path, NO_COLOR="1", RLHF_CONSOLE_THEME="light")) == set()


def test_there_are_colours_otherwise_and_the_ansi_theme_keeps_to_sixteen(tmp_path: Path) -> None:
    write_kl_explosion(tmp_path)
    sent = colours_sent(everything_seen(tmp_path, RLHF_CONSOLE_THEME="ansi"))
    assert sent >= {31, 32, 33, 36} and not sent & {38, 48}


def test_the_clipboard_is_reached_by_osc_52_and_the_pager_takes_the_terminal_for_a_while(tmp_path: Path) -> None:
    root, read = tmp_path / "runs", tmp_path / "read.txt"
    directory = write_kl_explosion(root)
    pager = f"{sys.executable} -c \"import sys; open('{read}', 'w').write(sys.stdin.read())\""
    terminal = console(root, PAGER=pager)
    terminal.shows("✗ failed")
    terminal.press("y")
    terminal.shows("copied")
    (copied,) = CLIPBOARD.findall(terminal.sent)
    assert base64.b64decode(copied).decode() == str(directory)
    terminal.press("\r")
    terminal.shows("step 40/200")
    terminal.press("4")
    terminal.shows("kl_level")
    terminal.press("V")
    while not read.exists() or "kl_level" not in read.read_text():
        terminal.shows("")
    terminal.press("1")
    terminal.shows("KL to the SFT policy")
    terminal.kill()


def test_settings_that_cannot_be_are_refused_before_the_screen_is_taken(tmp_path: Path) -> None:
    config = tmp_path / "rlhf-console"
    config.mkdir()
    (config / "console.toml").write_text('[keys]\npasue = "P"\n')
    terminal = console(tmp_path, XDG_CONFIG_HOME=str(tmp_path))
    lines = terminal.shows("Did you mean 'pause'?")
    assert terminal.process.wait(10) == 2 and b"\x1b[?1049h" not in terminal.sent
    assert "console.toml: keys.pasue" in "".join(lines).replace("\n", "")


def test_the_terminal_is_given_back_after_a_kill_too(tmp_path: Path) -> None:
    write_kl_explosion(tmp_path)
    terminal = console(tmp_path)
    terminal.shows("✗ failed")
    assert ENTER in terminal.sent and LEAVE not in terminal.sent
    terminal.process.kill()
    terminal.process.wait(10)
    terminal.shows("rlhf-console was killed")
    assert LEAVE in terminal.sent and b"\x1b[?1003l" in terminal.sent
    terminal.vanish()


def test_after_a_proper_end_nothing_is_added(tmp_path: Path) -> None:
    write_kl_explosion(tmp_path)
    terminal = console(tmp_path)
    terminal.shows("✗ failed")
    terminal.press("q")
    assert terminal.process.wait(10) == 0
    assert terminal.rest().count(LEAVE) == 1 and b"killed" not in terminal.sent
