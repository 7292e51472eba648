"""Coming back to a run: attach, a killed console, no terminal, a browser, the demo."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from recorded import write_healthy, write_pipeline
from rlhf_console import plugins
from rlhf_console.runs.attaching import run_to_attach
from rlhf_console.runs.launching import start_demo
from rlhf_console.tui import main as console_main
from rlhf_console.tui import serving
from rlhf_sdk import launch
from rlhf_sdk.commands import Stop
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import ENDED, State
from rlhf_sdk.trainer import UserError
from terminal import Terminal, console

STEP = re.compile(r"step (\d+)/")


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[RunDir]:
    config = plugins.validate("echo", {"steps": 5000, "delay_seconds": 0.05})
    run = launch.create_run(tmp_path, plugin="echo", config=config)
    launch.start(run)
    yield run
    if run.state() not in ENDED:
        launch.request(run, Stop())
        launch.wait(run)


def step_of(lines: list[str]) -> int:
    (found,) = STEP.findall("\n".join(lines))
    return int(found)


def test_a_killed_console_leaves_the_run_alone_and_another_one_shows_it(echo: RunDir) -> None:
    first = console(echo.root, echo.id)
    before = first.shows(echo.id, "▶ running", "/5000", "Score")
    first.press("p")
    first.shows("pause: requested → done", "‖ paused")
    assert first.kill() == -9
    assert echo.state() is State.PAUSED
    attached = Terminal([sys.executable, "-m", "rlhf_console", "attach", "--runs", str(echo.root)])
    held = step_of(attached.shows(echo.id, "‖ paused", "/5000", "Score"))
    assert held >= step_of(before)
    attached.press("p")
    attached.shows("▶ running")
    assert attached.kill() == -9
    time.sleep(0.3)
    assert echo.state() is State.RUNNING
    newest = [event.step for event in echo.last_events(5)]
    assert newest[-1] > held


def test_a_console_ends_with_its_terminal_even_where_no_signal_says_so(tmp_path: Path) -> None:
    write_healthy(tmp_path)
    opened = console(tmp_path)
    opened.shows("ppo-healthy")
    assert opened.vanish() == 129


def test_who_names_no_run_means_the_newest_at_work_else_the_newest(tmp_path: Path, echo: RunDir) -> None:
    write_healthy(tmp_path, "later", created=time.time() + 60)
    assert run_to_attach(tmp_path).record.id == echo.id
    launch.request(echo, Stop())
    launch.wait(echo)
    assert run_to_attach(tmp_path).record.id == "later"


def test_a_pipeline_is_meant_not_its_stage(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--demo"):
        run_to_attach(tmp_path)
    write_pipeline(tmp_path)
    assert run_to_attach(tmp_path).record.id == "demo"


def test_without_a_terminal_the_newest_run_is_watched_in_plain_lines(tmp_path: Path) -> None:
    write_healthy(tmp_path)
    command = [sys.executable, "-m", "rlhf_console", "attach", "--runs", str(tmp_path)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout == ""
    assert "watch --plain ppo-healthy" in done.stderr and "finished  step 26/26" in done.stderr
    assert "\x1b" not in done.stderr


def test_a_dumb_terminal_gets_plain_lines_too(tmp_path: Path) -> None:
    write_healthy(tmp_path)
    dumb = Terminal([sys.executable, "-m", "rlhf_console.tui.main", "--runs", str(tmp_path)], TERM="dumb")
    dumb.shows("watch --plain ppo-healthy", "finished  step 26/26")
    assert dumb.process.wait(30) == 0


class FakeServer:
    made: dict[str, object]

    def __init__(self, command: str, **options: object) -> None:
        FakeServer.made = {"command": command, **options}

    def serve(self) -> None:
        FakeServer.made["served"] = True


def test_serving_is_for_this_machine_alone_and_says_how_to_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package, module = ModuleType("textual_serve"), ModuleType("textual_serve.server")
    monkeypatch.setattr(module, "Server", FakeServer, raising=False)
    monkeypatch.setitem(sys.modules, "textual_serve", package)
    monkeypatch.setitem(sys.modules, "textual_serve.server", module)
    monkeypatch.setattr(
        sys, "argv", ["rlhf-console", "one run", "--runs", str(tmp_path), "--serve", "9000", "--readonly"]
    )
    with pytest.raises(SystemExit) as ended:
        console_main.main()
    made = FakeServer.made
    assert ended.value.code == 0 and made["host"] == "127.0.0.1" and made["port"] == 9000 and made["served"]
    assert str(made["command"]).endswith(f"rlhf_console.tui.main 'one run' --runs {tmp_path} --readonly")
    said = capsys.readouterr().err
    assert "http://127.0.0.1:9000" in said and "ssh -L 9000:127.0.0.1:9000 " in said


def test_without_textual_serve_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "textual_serve", None)
    monkeypatch.setattr(sys, "argv", ["rlhf-console", "--serve"])
    with pytest.raises(SystemExit) as ended:
        console_main.main()
    assert ended.value.code == 2 and "pip install textual-serve" in capsys.readouterr().err
    assert "8765" in serving.how_to_reach(serving.PORT)


def test_the_demo_is_started_detached_with_its_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[RunDir] = []
    monkeypatch.setattr(launch, "start", started.append)
    run = start_demo(tmp_path, ["--demo"])
    record = run.record()
    assert started == [run] and record.plugin == "pipeline" and record.profile == "demo"
    assert {"sft", "rm", "ppo"} <= record.config["stages"].keys()
