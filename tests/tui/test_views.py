"""The sides of a run that are not charts."""

from pathlib import Path

import pytest
from textual.pilot import Pilot

from driving import drive, screen_lines, shown
from recorded import (
    HOSTILE,
    append,
    append_events,
    machine_line,
    ppo_update,
    write_healthy,
    write_record,
    write_spoiled,
)
from rlhf_console.runs.log_file import LogFile
from rlhf_sdk.events import (
    Alert,
    Check,
    CheckpointSaved,
    MemoryRow,
    MemoryTable,
    MetricsLogged,
    Started,
    StateChanged,
    ValueSet,
    encode_line,
)

SIZES = [(80, 24), (120, 40), (200, 55)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    config = {"kl_coef": 0.05, "optimizer": {"lr": 1e-4, "eps": 1e-5}, "seed": 3}
    origins = {"kl_coef": "profile tldr", "optimizer.lr": "--set"}
    directory = write_record(tmp_path, "rich", config=config, provenance=origins, seed=3)
    told = [
        Check(name="kl_level", status="ok", figure=1.0, tolerance=50.0, step=1),
        Check(
            name="eos_rate", status="fail", figure=0.1, tolerance=0.2, step=2, explanation="few end: look at samples"
        ),
    ]
    memory = MemoryTable(rows=[MemoryRow(role="policy", kind="weights", bytes=3 << 20)], unaccounted=5 << 20)
    alert = Alert(
        severity="warning", code="memory_leak", message="it grows", advice="look here", phase="update", step=2
    )
    events = [Started(plugin="ppo", total_steps=9), StateChanged(state="running"), *told, memory, alert]
    events += [ValueSet(key="kl_coef", value=0.1, previous=0.05, step=1), *ppo_update(1), *ppo_update(2)]
    append_events(directory, [*events, CheckpointSaved(name="step-00000002", bytes=9, seconds=0.1, step=2)])
    append(directory, "machine.jsonl", machine_line(0.5, 2**30))
    (directory / "output.log").write_text("first line\n" + HOSTILE + "\n" + "last line\n")
    return tmp_path


@pytest.mark.parametrize("size", SIZES)
def test_every_view_shows_what_the_run_has(run: Path, size: tuple[int, int]) -> None:
    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "step 2/9")
        await pilot.press("3")
        await shown(pilot, "Memory of the process", "R rollout", "activations 1018.0 MiB", "process, RSS")
        await pilot.press("pagedown", "pagedown", "pagedown")
        await shown(pilot, "policy", "3.0 MiB", "5.0 MiB unaccounted", "no plan")
        await pilot.press("4")
        lines = await shown(pilot, "✗ fail", "eos_rate", "look at samples", "✓ ok")
        place = {name: next(y for y, line in enumerate(lines) if name in line) for name in ("eos_rate ", "kl_level ")}
        assert place["eos_rate "] < place["kl_level "], "what fails comes first"
        await pilot.press("5")
        await shown(pilot, "memory_leak", "it grows", "→ look here", "in update")
        await pilot.press("6")
        await shown(pilot, "first line", "\\x1b[31mred", "last line", "3 lines")
        await pilot.press("7")
        lines = await shown(pilot, "kl_coef", "→ 0.1 set since", "optimizer.lr", "2 more keys")
        assert "optimizer.eps" not in "".join(lines)
        await pilot.press("a")
        await shown(pilot, "optimizer.eps", "default")
        await pilot.press("8")
        await shown(pilot, "no result yet")

    drive(run, script, run="rich", size=size)


def test_marks_on_the_axis_and_a_regular_expression_for_charts(run: Path) -> None:
    async def script(pilot: Pilot[None]) -> None:
        lines = await shown(pilot, "Reward (points)", "◆")
        axis = next(line for line in lines if "└" in line)
        assert axis.index("◆") < axis.index("!"), "set at step 1, an alert at step 2"
        await pilot.press("slash", *"^entr", "enter")
        lines = await shown(pilot, "/^entr/", "Entropy (nats/token)")
        assert "Reward (points)" not in "".join(lines)
        await pilot.press("s", "l", "w")
        await shown(pilot, "smoothed 0.6", "log", "by wall", "since start")

    drive(run, script, run="rich")


def test_hostile_text_is_harmless_in_every_view(tmp_path: Path) -> None:
    directory = write_spoiled(tmp_path)
    (directory / "output.log").write_text(f"{HOSTILE}\n")

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "✗ failed")
        for key in "12345678d":
            await pilot.press(key)
            await pilot.pause(0.3)
            assert not {"\x1b", "\x07", "\u202e"} & set("\n".join(screen_lines(pilot)))

    drive(tmp_path, script, run="ppo-spoiled")


def test_runs_that_are_marked_are_drawn_over_the_one_that_is_open(tmp_path: Path) -> None:
    write_healthy(tmp_path, "base")
    write_healthy(tmp_path, "other")

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "base", "other")
        await pilot.press("space")
        lines = await shown(pilot, "◆ ")
        marked = "base" if any("◆" in line and "base" in line for line in lines) else "other"
        await pilot.press("enter")
        await shown(pilot, f"◆ {marked}", "Reward (points)")

    drive(tmp_path, script)


def test_a_log_is_found_line_by_line_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LogFile(path)
    assert not log.read() and len(log) == 0
    path.write_bytes(b"one\nprogress 1\rprogress 2\nhalf")
    log.read()
    assert [log.line(index) for index in range(len(log))] == ["one", "progress 2"]
    with path.open("ab") as stream:
        stream.write(b" whole\n\xff\n")
    log.read()
    assert [log.line(2), log.line(3)] == ["half whole", "\ufffd"]
    path.write_bytes(b"anew\n")
    log.read()
    assert (len(log), log.line(0)) == (1, "anew")


def test_a_log_of_a_million_lines_opens_at_its_end(tmp_path: Path) -> None:
    directory = write_record(tmp_path, "long")
    append_events(directory, [Started(plugin="echo", total_steps=1), StateChanged(state="running")])
    (directory / "output.log").write_bytes(b"".join(b"line %d\n" % number for number in range(300_000)))

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "long")
        await pilot.press("6")
        await shown(pilot, "line 299999", "300000 lines")

    drive(tmp_path, script, run="long")


def test_fuzzed_events_never_take_the_console_down(tmp_path: Path) -> None:
    directory = write_record(tmp_path, "fuzzed")
    lines = [
        encode_line(Started(plugin="ppo", total_steps=3)),
        b'{"kind":"metrics","values":{"a":"NaN","":1e999},"seconds":"Infinity","step":-5}\n',
        b'{"kind":"metrics","values":null}\n', b'{"kind":"alert"}\n', b'{"kind":17}\n', b"[]\n", b"{\n",
        b'{"kind":"check","name":"x","status":"purple","figure":1,"tolerance":1}\n',
        b'{"kind":"new_kind","' + b"k" * 5000 + b'":{"deep":[[[[1]]]]}}\n',
        encode_line(MetricsLogged(values={"a/" + "x" * 500: float("inf")}, seconds=1.0, step=2)),
    ]  # fmt: skip
    append(directory, "events.jsonl", *lines)
    append(
        directory,
        "samples.jsonl",
        b'{"tag":1}\n',
        b'{"tag":"t","index":0,"prompt":"","response":"' + b"w" * 9999 + b'"}\n',
    )

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "fuzzed")
        for key in "12345678":
            await pilot.press(key)
            await pilot.pause(0.2)
        await shown(pilot, "fuzzed")

    drive(tmp_path, script, run="fuzzed")


def test_a_serious_alert_rings_and_one_that_was_there_before_does_not(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(pilot: Pilot[None]) -> None:
        written: list[str] = []
        monkeypatch.setattr(pilot.app._driver, "write", written.append)
        monkeypatch.setattr(pilot.app, "bell", lambda: written.append("bell"))
        await shown(pilot, "step 2/9")
        await pilot.pause(0.6)
        assert not any("]9;" in text for text in written)
        alert = Alert(severity="error", code="nan", message=f"diverged {HOSTILE}", seq=99, step=2)
        append(run / "rich", "events.jsonl", encode_line(alert))
        await shown(pilot, "error: diverged")
        await pilot.pause(0.3)
        (notification,) = [text for text in written if "]9;" in text]
        assert notification.startswith("\x1b]9;rich: diverged") and notification.count("\x1b") == 2
        assert written.count("bell") == 1

    drive(run, script, run="rich")
