"""What a person sets in console.toml: themes, keys of their own, the bell."""

from pathlib import Path
from typing import Any

import pytest
from textual.binding import Binding
from textual.pilot import Pilot

from driving import drive, screen_lines, shown
from recorded import write_healthy
from rlhf_console.settings import Settings, load_settings, settings_file
from rlhf_console.tui.app import ConsoleApp
from rlhf_console.tui.keymap import bindings_of, checked_keymap
from rlhf_console.tui.places import places
from rlhf_sdk.trainer import UserError

MOVES = {
    "up", "down", "left", "right", "pageup", "pagedown", "home", "end", "j", "k", "ctrl+home", "ctrl+end", "tab",
    "shift+tab", "ctrl+pageup", "ctrl+pagedown", "space",
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("RLHF_CONSOLE_THEME", raising=False)
    settings_file().parent.mkdir()
    return settings_file()


def test_without_a_file_everything_is_as_it_comes(file: Path) -> None:
    assert file == file.parents[1] / "rlhf-console" / "console.toml"
    assert load_settings() == Settings(theme="dark", bell=True, keys={})


def test_the_file_is_read_and_the_variable_goes_before_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('theme = "light"\nbell = false\n[keys]\npause = "P"\n')
    assert load_settings() == Settings(theme="light", bell=False, keys={"pause": "P"})
    monkeypatch.setenv("RLHF_CONSOLE_THEME", "ansi")
    assert load_settings().theme == "ansi"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('theme = "lihgt"', 'theme = "lihgt": must be one of ansi, colour-blind, dark, light'),
        ('thema = "light"', "unknown key 'thema'. Did you mean 'theme'?"),
        ("bell = 3", "bell = 3: must be"),
        ("keys = 3", "keys = 3: must be"),
        ("[keys", "not valid TOML"),
    ],
)
def test_a_wrong_setting_is_refused_in_words(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(UserError) as refused:
        load_settings()
    assert str(file) in str(refused.value) and said in str(refused.value)


def test_a_theme_that_the_variable_misspells_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLHF_CONSOLE_THEME", "color-blind")
    with pytest.raises(UserError, match="Did you mean 'colour-blind'"):
        load_settings()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"pasue": "P"}, "keys.pasue: no action is called so. Did you mean 'pause'?"),
        ({"pause": "Ctrl P"}, "'Ctrl P' is not a key"),
        ({"pause": "ctlr+p"}, "'ctlr+p' is not a key"),
        ({"pause": "w"}, "'w' is the key of x-axis already (charts of a run)"),
        ({"pause": "P", "checkpoint": "P"}, "'P' is the key of"),
        ({"log": "?"}, "'?' is the key of keys already"),
        ({"mark": "+", "filter": "slash", "zoom-out": "+"}, "'+' is the key of zoom-in already"),
    ],
)
def test_keys_that_cannot_be_are_refused_in_words(keys: dict[str, str], said: str) -> None:
    with pytest.raises(UserError) as refused:
        checked_keymap(keys, places(ConsoleApp))
    assert said in str(refused.value)


def test_two_actions_may_change_places_and_one_key_may_serve_two_screens() -> None:
    for keys in ({"pause": "c", "checkpoint": "p"}, {"launch": "s"}, {"smooth": "S,f9", "launch": ","}):
        assert checked_keymap(keys, places(ConsoleApp)) == keys


def test_every_key_that_is_no_movement_has_an_id_and_a_description() -> None:
    every = {kind for holders in places(ConsoleApp).values() for kind in holders}
    ours = {kind for each in every for kind in each.__mro__ if kind.__module__.startswith("rlhf_console")}
    nameless = [
        (kind.__name__, binding.key)
        for kind in ours
        for binding in Binding.make_bindings(vars(kind).get("BINDINGS", ()))
        if binding.key not in MOVES and not (binding.id and binding.description)
    ]
    assert nameless == []


def test_what_a_key_is_called_is_the_same_everywhere() -> None:
    """One id, one meaning: a user changes it once."""
    actions: dict[str, set[str]] = {}
    for holders in places(ConsoleApp).values():
        for kind in holders:
            for binding in bindings_of(kind):
                if binding.id is not None:
                    actions.setdefault(binding.id, set()).add(binding.description)
    assert {name: said for name, said in actions.items() if len(said) > 1} == {}


def play(root: Path, script: Any, **settings: Any) -> None:
    drive(root, script, settings=Settings(**settings))


def test_ones_own_keys_work_and_are_shown(tmp_path: Path) -> None:
    write_healthy(tmp_path)

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "✓ finished", "P Pause/Resume")
        await pilot.press("?")
        lines = await shown(pilot, "Pause/Resume", "checkpoint")
        assert any(line.split()[1:4] == ["P", "Pause/Resume", "pause"] for line in lines)
        await pilot.press("escape", "c")
        await pilot.pause()
        assert "refused" not in "".join(screen_lines(pilot))
        await pilot.press("C")
        await shown(pilot, "✗ checkpoint: refused")

    play(tmp_path, script, keys={"pause": "P", "checkpoint": "C"})
