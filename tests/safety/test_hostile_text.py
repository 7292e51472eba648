"""Text from models, data, plugins and other people's run directories steers no terminal: real processes on a pty."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect

from rlhf_console.cli.verbs import VERBS
from rlhf_console.printable import printable, printable_json
from rlhf_console.runs.store import LiveRun
from rlhf_console.tui.app import ConsoleApp
from rlhf_sdk.events import Alert, AnyEvent, Sample, encode_line
from rlhf_sdk.preferences import PreferenceStore, new_vote
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import Distribution, ExitRecord, ProcessIdentity, RunRecord, RunStatus, encode_record
from rlhf_sdk.states import State

HOSTILE = "\x1b[5n\x1b]0;planted\x07\x9b6n\u202e\u200b\u2066\ufeff\ufe0f[blink]planted[/blink]\r\nforged line\n\x7f"
FILE_NAME = HOSTILE.replace("/", "")
ONE_LINE = FILE_NAME.replace("\r", "").replace("\n", "").replace("\x7f", "")
DRAWN_BY_RICH = re.compile(r"\x1b\[(?:\?25[lh]|\d*[AG]|[0-2]?K|[\d;]*m)")
DRAWN_BY_TEXTUAL = re.compile(
    r"\x1b\[[?<>=]?[\d;]*[ABCDGHJKXhlmnpqrstuw]|\x1b\[[\d;?$]*\$p|\x1b[PX^_][^\x1b]*\x1b\\|\x1b\]\d+;[^\x1b\x07]*(?:\x1b\\|\x07)"
)


def harmful(output: str, drawn: re.Pattern[str] | None = None) -> set[str]:
    """What could steer a terminal or hide, beside what the console's own library draws with."""
    left = drawn.sub("", output) if drawn else output
    found = {c for c in left if unicodedata.category(c) in ("Cc", "Cf", "Cs") or c == "\ufe0f"}
    return found - {"\r", "\n"} | ({"forged"} if re.search(r"^forged", left, re.MULTILINE) else set())


def on_a_terminal(root: Path, *command: str, keys: str = "", seconds: float = 60.0) -> str:
    """Everything that the command sends to its terminal; `keys` are pressed one by one, 0.7 s apart."""
    parent, child = pty.openpty()
    environment = os.environ | {"RLHF_RUNS": str(root), "TERM": "xterm-256color", "COLUMNS": "150", "LINES": "50"}
    process = subprocess.Popen(
        [sys.executable, *command], stdin=child, stdout=child, stderr=child, env=environment, cwd=root.parent
    )
    os.close(child)
    readable = select.poll()
    readable.register(parent, select.POLLIN)
    output, deadline, pressed = b"", time.monotonic() + seconds, time.monotonic()
    while time.monotonic() < deadline:
        if keys and time.monotonic() - pressed > 0.7 and output:
            pressed = time.monotonic()
            os.write(parent, keys[0].encode())
            keys = keys[1:]
        if readable.poll(100):
            try:
                output += os.read(parent, 1 << 16)
            except OSError:
                break
    os.close(parent)
    if process.poll() is None:
        process.wait(timeout=30)
    return output.decode(errors="surrogateescape")


def rlhf(root: Path, *arguments: str) -> str:
    return on_a_terminal(root, "-P", "-m", "rlhf_console", *arguments)


def filled(kind: Any) -> Any:
    """A value of this type with hostile text wherever text is allowed."""
    return msgspec.convert(_filled(inspect.type_info(kind)), kind)


def _filled(kind: inspect.Type) -> Any:
    match kind:
        case inspect.StructType():
            fields = {field.encode_name: _filled(field.type) for field in kind.fields}
            return fields | ({"kind": kind.tag, "schema": 1, "time": time.time()} if kind.tag else {})
        case inspect.DictType():
            return {_filled(kind.key_type): _filled(kind.value_type), "rss": _filled(kind.value_type)}
        case inspect.ListType():
            return [_filled(kind.item_type)]
        case inspect.UnionType():
            return _filled(next(one for one in kind.types if not isinstance(one, inspect.NoneType)))
        case inspect.LiteralType():
            return kind.values[0]
        case inspect.StrType() | inspect.AnyType():
            return HOSTILE
        case inspect.BoolType():
            return True
    return 1


@pytest.fixture
def hostile_root(tmp_path: Path) -> Path:
    """A run root with one ended run, as an enemy would write it, and entries that are no runs at all."""
    root = tmp_path / "runs"
    run = root / "evil"
    run.mkdir(parents=True)
    record = RunRecord(
        id=HOSTILE,
        name=HOSTILE,
        plugin=HOSTILE,
        distribution=Distribution(HOSTILE, HOSTILE),
        profile=HOSTILE,
        config={HOSTILE: HOSTILE, "a": {HOSTILE: [HOSTILE]}},
        provenance={HOSTILE: HOSTILE},
        versions={HOSTILE: HOSTILE},
        parents={HOSTILE: HOSTILE},
        stage=HOSTILE,
        created=time.time(),
        argv=[HOSTILE],
        cwd=HOSTILE,
    )
    nobody = ProcessIdentity(pid=2**22 - 1, start=HOSTILE)
    status = RunStatus(
        state=State.FAILED, attempt=1, started=1, time=1, host=HOSTILE, boot_id=HOSTILE, shim=nobody, reason=HOSTILE
    )
    verdict = ExitRecord(state=State.FAILED, attempt=1, exit_code=3, reason=HOSTILE, time=1)
    (run / "run.json").write_bytes(encode_record(record))
    (run / "status.json").write_bytes(encode_record(status))
    (run / "exit.json").write_bytes(encode_record(verdict))
    lines = [encode_line(filled(kind)) for kind in get_args(AnyEvent)]
    lines += [msgspec.json.encode({"kind": HOSTILE, "what": HOSTILE}) + b"\n", HOSTILE.encode() + b"\n"]
    (run / "events.jsonl").write_bytes(b"".join(lines))
    (run / "alerts.jsonl").write_bytes(encode_line(filled(Alert)))
    sample = Sample(tag=HOSTILE, index=0, prompt=HOSTILE, response=HOSTILE, reference=HOSTILE, metrics={HOSTILE: 1.0})
    (run / "samples.jsonl").write_bytes(encode_line(sample))
    (run / "output.log").write_text(HOSTILE)
    PreferenceStore(root).append(
        new_vote(HOSTILE, (f"a {HOSTILE}", f"b {HOSTILE}"), "left", policies=(HOSTILE, "b"), labeller=HOSTILE)
    )
    (root.parent / "pairs.jsonl").write_text(json.dumps({"prompt": HOSTILE, "responses": [HOSTILE, f"b {HOSTILE}"]}))
    (root / f"ppo-{FILE_NAME}").mkdir()
    (root / f"ppo-{FILE_NAME}" / "run.json").write_bytes(encode_record(record))
    (root / "damaged").mkdir()
    (root / "damaged" / "run.json").write_text(json.dumps({"id": 1}))
    return root


READERS = [
    ["ls"],
    ["ls", "--json"],
    ["show", "evil"],
    ["show", "evil", "--json"],
    ["watch", "evil", "--plain"],
    ["logs", "evil"],
    ["memory", "evil"],
    ["memory", "evil", "--json"],
    ["set", "evil", f"{ONE_LINE}=1"],
    ["sample", "evil", "--prompt", HOSTILE],
    ["pause", "evil"],
    ["checkpoint", "evil"],
    ["samples", "evil"],
    ["samples", "evil", "--json"],
    ["compare", "evil"],
    ["compare", "evil", "--side", HOSTILE, "--side", HOSTILE],
    ["export", "evil", "--to", "csv"],
    ["fork", "evil", "--at", ONE_LINE],
    ["import", FILE_NAME, "--from", "verl"],
    ["label", "evil", "--plain"],
    ["label", "--summary"],
    ["label", "--summary", "--json"],
    ["label", "--pairs", FILE_NAME],
    ["run", "rm", "--data", f"preferences:{ONE_LINE}", "--dry-run"],
    ["join", "evil"],
    ["iterate", "--profile", "demo", "--after", "evil", "--set", HOSTILE, "--dry-run"],
    ["sweep", "echo", "--grid", f"echo.text={HOSTILE}", "--dry-run"],
    ["sweep", "echo", "--grid", f"echo.{ONE_LINE}=1", "--dry-run"],
    ["relaunch", "evil"],
    ["report", "evil"],
    ["tag", "evil", "--json"],
    ["tag", "evil", ONE_LINE],
    ["show", "damaged"],
    ["show", FILE_NAME],
    ["stop", "evil"],
]


@pytest.mark.parametrize("arguments", READERS, ids=[" ".join(map(printable, row)) for row in READERS])
def test_no_verb_lets_a_run_directory_steer_the_terminal(hostile_root: Path, arguments: list[str]) -> None:
    output = rlhf(hostile_root, *arguments)
    assert "Traceback" not in output
    assert harmful(output) - ({"forged"} if arguments[0] == "logs" else set()) == set()
    assert "planted" in output or arguments[1] in ("evil", "damaged")
    if arguments[-1] == "--json" and arguments[0] != "tag":
        documents = [line for line in output.splitlines() if not line.startswith("rlhf: left out")]
        assert "planted" in json.dumps(json.loads("\n".join(documents)))


def test_every_verb_is_tried() -> None:
    assert {row[0] for row in (*READERS, *PLUGIN_VERBS)} | {"resume", "demo", "attach", "plugin"} == set(VERBS)


@pytest.mark.parametrize("verb", ["watch", "resume"])
def test_live_bars_let_nothing_through(hostile_root: Path, verb: str) -> None:
    output = rlhf(hostile_root, verb, "evil")
    assert harmful(output, DRAWN_BY_RICH) == set()
    assert "\\x1b[5n" in output and "[blink]" in output


@pytest.mark.parametrize(("how", "drawn"), [(["--plain"], None), ([], DRAWN_BY_TEXTUAL)], ids=["plain", "full screen"])
def test_labelling_lets_nothing_through(hostile_root: Path, how: list[str], drawn: re.Pattern[str] | None) -> None:
    command = ["-P", "-m", "rlhf_console", "label", "--pairs", "pairs.jsonl", "--labeller", ONE_LINE, *how]
    output = on_a_terminal(hostile_root, *command, keys="1\r" if how else "d1q", seconds=20)
    assert "\\x1b[5n" in output and "[blink]" in output
    assert harmful(output, drawn) - ({"forged"} if drawn else set()) == set()  # a prompt's lines are lines on a screen
    assert len(PreferenceStore(hostile_root).refresh()) == 2


def test_the_full_screen_lets_nothing_through(hostile_root: Path) -> None:
    starts = "from rlhf_console.tui.main import main; main()"
    output = on_a_terminal(hostile_root, "-c", starts, keys="jkjk\rslcqq", seconds=20)
    assert "planted" in output and "\\x1b[5n" in output
    assert "\x1b[5n" not in output and "\x1b]0;planted" not in output
    assert harmful(output, DRAWN_BY_TEXTUAL) == set()


def test_the_full_screen_says_what_it_can_not_read_and_lives(hostile_root: Path) -> None:
    async def drive() -> None:
        live = LiveRun.open(RunDir(hostile_root / "evil"))
        async with ConsoleApp(hostile_root, live).run_test(size=(120, 40)) as pilot:
            (hostile_root / "evil" / "events.jsonl").unlink()
            (hostile_root / "evil" / "events.jsonl").symlink_to("/etc/passwd")
            for _ in range(100):
                await pilot.pause(0.1)
                if said := [notice.message for notice in pilot.app._notifications]:
                    break
            assert any("events.jsonl can't be read: it is a link, which is not followed" in text for text in said)
            await pilot.press("escape")
            await pilot.pause(0.3)
            assert pilot.app.is_running

    asyncio.run(drive())


PLUGIN_VERBS = [
    ["plugins"],
    ["config", "hostile"],
    ["config", "hostile", "--json"],
    ["profiles"],
    ["profiles", "--json"],
    ["run", "hostile", "--dry-run"],
    ["run", "hostile", "--dry-run", "--json"],
    ["run", "hostile", "--set", f"hostile.kind={HOSTILE}x"],
    ["run", "hostile", "--profile", f"nasty {printable(HOSTILE)}"],
    ["plan", "hostile"],
    ["check", "hostile"],
    ["check", "hostile", "--set", "hostile.fails=true"],
    ["check", "hostile", "--json"],
    ["doctor"],
]


@pytest.fixture
def nasty(tmp_path: Path, install: Callable[[str], None]) -> Path:
    """A folder with a hostile plugin installed, a broken one with a hostile name, and a hostile profile."""
    install("hostile")
    metadata = tmp_path / "site" / "broken-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: broken{ONE_LINE}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        f"[rlhf.trainers]\nbad = broken_plugin:plugin\n{ONE_LINE} = nowhere:plugin\n"
    )
    (tmp_path / "site" / "broken_plugin.py").write_text(f"raise RuntimeError({HOSTILE!r})\n")
    (tmp_path / "profiles").mkdir()
    lines = [f"summary = {json.dumps(HOSTILE)}", f"[{json.dumps(HOSTILE)}]", f"{json.dumps(HOSTILE)} = 1"]
    (tmp_path / "profiles" / f"nasty {ONE_LINE}.toml").write_text("\n".join(lines).replace("\x7f", ""))
    return tmp_path / "runs"


@pytest.mark.parametrize("arguments", PLUGIN_VERBS, ids=[printable(" ".join(row)) for row in PLUGIN_VERBS])
def test_no_verb_lets_a_plugin_or_profile_steer_the_terminal(nasty: Path, arguments: list[str]) -> None:
    output = rlhf(nasty, *arguments)
    assert "Traceback" not in output
    assert harmful(output) == set()
    assert arguments == ["doctor"] or "planted" in output
    if arguments[-1] == "--json":
        json.loads(output)


def test_a_run_that_is_watched_lets_nothing_through(nasty: Path) -> None:
    for arguments in (["run", "hostile"], ["run", "hostile", "--set", "hostile.fails=true"]):
        output = rlhf(nasty, *arguments)
        assert "planted" in output
        assert harmful(output, DRAWN_BY_RICH) == set()
        assert "\x1b[5n" not in output


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_printable_text_has_no_hidden_character_and_keeps_the_rest(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    assert harmful(shown) == set() and "\n" not in shown and "\r" not in shown
    assert [c for c in text if c.isalnum()] == [c for c in shown if c.isalnum()] or shown != text


@settings(max_examples=200, deadline=None)
@given(st.recursive(st.text() | st.integers() | st.none(), lambda inner: st.dictionaries(st.text(), inner, max_size=3)))
def test_printable_json_means_the_same(value: object) -> None:
    document = printable_json(json.dumps(value, indent=2, ensure_ascii=False))
    assert json.loads(document) == value
    assert harmful(document) == set() and "\x7f" not in document
