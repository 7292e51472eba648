"""Planted keys reach no file of a run, whichever way they are told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_sdk import launch
from rlhf_sdk.events import Alert, Note
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.scrubbing import Blotter, Scrubber, own_scrubber, scrub
from rlhf_sdk.trainer import UserError

BY_NAME = {
    "HF_TOKEN": "planted-hub-0123456789",
    "ANTHROPIC_API_KEY": "planted/judge+0123456789==",
    "SOME_SERVICE_SECRET": 'planted "quoted" \\ 0123456789',
    "DB_PASSWORD": "planted-päss-0123456789",
}
BY_SHAPE = {
    "MIRROR": "https://planted-user:planted-password@example.org/data",
    "NOTED": "hf_plantedAAAABBBBCCCCDDDD",
    "OTHER": "sk-ant-api03-planted-AAAABBBBCCCC",
    "THIRD": "sk-proj-planted-AAAABBBBCCCC",
    "FOURTH": "ghp_plantedAAAABBBBCCCCDDDDEEEE",
    "FIFTH": "AKIAPLANTED123456789",
    "SIXTH": "https://hooks.slack.com/services/T0/B0/planted",
}


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {**BY_NAME, **BY_SHAPE}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PLANTED", " ".join([*BY_NAME, *BY_SHAPE]))
    own_scrubber.cache_clear()
    yield
    own_scrubber.cache_clear()


def leaks(folder: Path) -> dict[str, list[str]]:
    """File -> lines with anything planted in it, in any spelling of JSON."""
    found = {}
    for path in folder.rglob("*"):
        lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
        if told := [line for line in lines if "planted" in line.lower()]:
            found[path.name] = told
    return found


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("ends", ["raises", "exits"])
def test_nothing_that_a_run_tells_is_kept(root: Path, install: Callable[[str], None], ends: str) -> None:
    install("leaky")
    argv = ["run", "leaky", "--name", BY_NAME["HF_TOKEN"], "--x", BY_SHAPE["OTHER"]]
    run = launch.create_run(root, plugin="leaky", config={"ends": ends}, argv=argv)
    launch.start(run)
    verdict = launch.wait(run)
    assert verdict is not None
    assert leaks(root) == {}
    assert run.record().argv == ["run", "leaky", "--name", "[HF_TOKEN]", "--x", "[ANTHROPIC_API_KEY]"]
    told = " and ".join([*(f"[{name}]" for name in BY_NAME), "https://[PASSWORD]@example.org/data", "[HF_TOKEN]"])
    assert next(event.text for event in run.events() if isinstance(event, Note)).startswith(told)
    assert next(sample.response for sample in run.samples()).startswith(told)
    assert told in run.log.read_text()
    if ends == "raises":
        assert verdict.reason.startswith(f"the plugin failed: ValueError: {told}")
        assert "Traceback" in run.log.read_text() and f"ValueError: {told}" in run.log.read_text()
        assert any(isinstance(event, Alert) and event.code == "plugin_failed" for event in run.events())


@pytest.mark.usefixtures("planted")
def test_what_is_written_past_python_is_blotted_and_not_lost(root: Path, install: Callable[[str], None]) -> None:
    install("leaky")
    run = launch.create_run(root, plugin="leaky", config={"ends": "exits"})
    launch.start(run)
    verdict = launch.wait(run)
    assert verdict is not None and "last output: last words: *****" in verdict.reason
    lines = run.log.read_text(errors="replace").splitlines()
    for start in ("C library: ", "child: ", "last words: "):
        (line,) = [line for line in lines if line.startswith(start)]
        assert len(line.encode()) == len((start + " and ".join([*BY_NAME.values(), *BY_SHAPE.values()])).encode())
        assert "https://***" in line and line.count(" and ") == len(BY_NAME) + len(BY_SHAPE) - 1


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("secret", [*BY_NAME.values(), *BY_SHAPE.values()])
def test_a_key_in_the_config_is_refused_and_not_repeated(root: Path, secret: str) -> None:
    with pytest.raises(UserError, match=r"^section\.name = .*\[[A-Z_]+\].* holds a key or password") as refusal:
        launch.create_run(root, plugin="echo", config={"section": {"name": secret}})
    assert "planted" not in str(refusal.value).lower()
    assert not root.exists()


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("verb", [["run", "--dry-run"], ["run", "--dry-run", "--json"], ["plan"], ["check"], ["run"]])
def test_the_command_line_refuses_a_key_and_shows_it_nowhere(root: Path, verb: list[str]) -> None:
    setting = f"echo.text={BY_SHAPE['OTHER']}"
    command = [sys.executable, "-P", "-m", "rlhf_console", verb[0], "echo", "--set", setting, *verb[1:]]
    done = subprocess.run([*command, "--runs", str(root)], capture_output=True, text=True)
    assert done.returncode == 2 and "echo.text = '[ANTHROPIC_API_KEY]' holds a key or password" in done.stderr
    assert "planted" not in done.stdout + done.stderr
    assert not root.exists()


@pytest.mark.parametrize(
    "text",
    [
        "task-specific-pretraining-of-models and a disk-full-at-any-write-in-the-middle",
        "https://example.org:8080/a@b and ssh://git@example.org",
        "the key= and token= of a dictionary, pad_token=<|padding|>",
        "run:ppo-20261121-101500-3fa9@step-00000120",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "short",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert Scrubber({"A_KEY": "short"}).text(text) == text


def test_the_longer_of_two_values_is_named() -> None:
    scrubber = Scrubber({"A_TOKEN": "abcdefgh", "B_TOKEN": "abcdefgh-and-more"})
    assert scrubber.text("abcdefgh abcdefgh-and-more") == "[A_TOKEN] [B_TOKEN]"


@pytest.mark.parametrize("name", ["HF_TOKEN", "openai_api_key", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "RLHF_NOTIFY"])
def test_names_of_secrets(name: str) -> None:
    assert Scrubber({name: "a value to hide"}).text("it is a value to hide") == f"it is [{name}]"


@pytest.mark.parametrize("name", ["HOME", "MONKEY", "KEYBOARD", "TOKENIZERS_PARALLELISM"])
def test_names_of_no_secrets(name: str) -> None:
    assert Scrubber({name: "a value to keep"}).text("it is a value to keep") == "it is a value to keep"


@settings(max_examples=60, deadline=None)
@given(secret=st.text(min_size=8, max_size=60), before=st.text(max_size=20), after=st.text(max_size=20))
def test_no_value_of_a_secret_survives_in_any_text(secret: str, before: str, after: str) -> None:
    scrubber = Scrubber({"MY_TOKEN": secret})
    left = scrubber.text(before + secret + after).split("[MY_TOKEN]")
    assert len(left) > 1 and not any(secret in part for part in left)
    assert scrubber.data({secret: [{"deep": (secret, 1)}]}) == {"[MY_TOKEN]": [{"deep": ["[MY_TOKEN]", 1]}]}


def test_plain_data_that_is_no_text_stays() -> None:
    assert scrub({"a": [1, 2.5, None, True]}) == {"a": [1, 2.5, None, True]}


def test_a_secret_that_arrives_in_two_pieces_is_blotted(tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    log.write_bytes(b"what was there before\n")
    blotter = Blotter(log, Scrubber({"MY_KEY": "abcdefghij"}))
    with log.open("ab", buffering=0) as stream:
        for piece in (b"one abcde", b"fghij two", b"\n" * (3 << 20), b"abcdefghij"):
            stream.write(piece)
            blotter.blot()
    data = log.read_bytes()
    assert data.replace(b"\n", b"") == b"what was there beforeone ********** two**********"
    assert len(data) == 22 + 18 + (3 << 20) + 10


def test_a_blotted_log_of_a_run_directory_stays_private(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.log.touch(mode=0o600)
    Blotter(run.log, Scrubber({})).blot()
    assert run.log.stat().st_mode & 0o777 == 0o600
