"""People are told of ends and alerts, by real processes, and whatever the server does a run goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rlhf_sdk import launch
from rlhf_sdk.liveness import is_alive
from rlhf_sdk.notify import ENVIRONMENT, Message, check_address, masked
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import ExitRecord
from rlhf_sdk.scrubbing import own_scrubber
from rlhf_sdk.telling import NotSent, tell
from rlhf_sdk.trainer import UserError

MESSAGE = Message(run="ppo-1", what="failed", severity="error", message="the loss is nan", host="box", time=1.5)
Answer = Callable[[BaseHTTPRequestHandler], None]


class Webhook:
    """A server on this machine that answers each post with the next of `answers`, and remembers what was posted."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.answers: list[Answer] = []
        self.gets = 0
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                webhook.posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                (webhook.answers.pop(0) if webhook.answers else status(204))(self)

            def do_GET(self) -> None:
                webhook.gets += 1
                status(200)(self)

            def log_message(self, format: str, *args: Any) -> None:
                return None

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/planted-path-of-a-webhook"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 30
        while len(self.posts) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(self.posts) >= count, self.posts
        return self.posts


def status(code: int, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()

    return answer


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    made = Webhook()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def told(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    """The webhook, told by every run that the test starts."""
    monkeypatch.setenv(ENVIRONMENT, webhook.url)
    own_scrubber.cache_clear()
    yield webhook
    own_scrubber.cache_clear()


def test_a_message_is_posted_as_json(webhook: Webhook) -> None:
    tell(webhook.url, MESSAGE)
    (post,) = webhook.posts
    assert post == {
        "run": "ppo-1",
        "what": "failed",
        "severity": "error",
        "message": "the loss is nan",
        "advice": "",
        "host": "box",
        "time": 1.5,
        "text": "ppo-1: failed: the loss is nan",
    }


def test_a_server_in_trouble_is_asked_again(webhook: Webhook) -> None:
    webhook.answers = [status(500), status(429), status(200)]
    tell(webhook.url, MESSAGE, waits=(0.01, 0.01, 0.01))
    assert len(webhook.posts) == 3
    webhook.answers = [status(503)] * 4
    with pytest.raises(NotSent, match="it answered 503"):
        tell(webhook.url, MESSAGE, waits=(0.01, 0.01, 0.01))
    assert len(webhook.posts) == 7


def test_a_refusal_is_final(webhook: Webhook) -> None:
    webhook.answers = [status(404)]
    with pytest.raises(NotSent, match="it answered 404"):
        tell(webhook.url, MESSAGE)
    assert len(webhook.posts) == 1


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x/", "/elsewhere", ""])
def test_no_redirect_is_followed(webhook: Webhook, code: int, target: str) -> None:
    webhook.answers = [status(code, Location=target)]
    with pytest.raises(NotSent, match="redirects"):
        tell(webhook.url, MESSAGE)
    assert (len(webhook.posts), webhook.gets) == (1, 0)


def test_no_more_of_a_reply_is_read_than_needed(webhook: Webhook) -> None:
    sent = 0

    def huge(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        status(200)(handler)
        try:
            while sent < 1 << 30:
                sent += handler.wfile.write(bytes(1 << 20))
        except OSError:
            return

    webhook.answers = [huge]
    tell(webhook.url, MESSAGE)
    assert sent < 1 << 28


def test_what_is_no_http_is_one_problem(webhook: Webhook) -> None:
    def other_protocol(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"SSH-2.0-OpenSSH\r\n")

    webhook.answers = [other_protocol]
    with pytest.raises(NotSent, match="SSH"):
        tell(webhook.url, MESSAGE, waits=())


@pytest.mark.parametrize(
    "address", ["", "nonsense", "http://", "https:///path", "http://[::1", "http://a b/", "http://a/\nx", "file:///etc"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UserError, match="not an address"):
        check_address(address)


def test_other_services_need_the_extra_and_are_not_shown() -> None:
    with pytest.raises(UserError, match=r"pip install 'rlhf-console\[notify\]'") as refusal:
        check_address("slack://planted-token-a/planted-token-b")
    assert "planted" not in str(refusal.value)


def test_only_scheme_and_host_are_shown() -> None:
    assert masked("https://user:planted@hooks.example.org:99/planted?x=planted") == "https://hooks.example.org/***"
    assert "planted" not in masked("slack://planted/planted") + masked("http://[planted")


def test_other_services_go_through_apprise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "apprise.py").write_text(
        "import json, pathlib\n"
        "class Apprise:\n"
        "    def add(self, url): self.url = url; return url.startswith('slack://')\n"
        "    def notify(self, **fields):\n"
        f"        pathlib.Path({str(tmp_path)!r}, 'sent').write_text(json.dumps([self.url, fields])); return True\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "apprise", raising=False)
    tell("slack://token", MESSAGE)
    sent = ["slack://token", {"title": "ppo-1: failed", "body": "the loss is nan", "notify_type": "failure"}]
    assert json.loads((tmp_path / "sent").read_text()) == sent
    with pytest.raises(UserError, match="apprise knows no such service"):
        check_address("nowhere://token")
    monkeypatch.delitem(sys.modules, "apprise")


def ended(run: RunDir) -> ExitRecord:
    launch.start(run)
    verdict = launch.wait(run)
    assert verdict is not None
    return verdict


def test_a_finished_run_is_told_once(root: Path, told: Webhook) -> None:
    argv = ["run", "echo", "--notify", told.url]
    run = launch.create_run(root, plugin="echo", config={"steps": 2}, argv=argv)
    ended(run)
    (post,) = told.wait_for(1)
    assert (post["run"], post["what"], post["severity"]) == (run.id, "finished", "info")
    assert run.record().argv[-1] == "[RLHF_NOTIFY]"
    kept = b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())
    assert b"planted-path" not in kept


def test_a_pipeline_is_told_once_for_all_its_stages(root: Path, told: Webhook) -> None:
    stages = {name: {"plugin": "echo", "config": {"steps": 1}} for name in ("one", "two")}
    run = launch.create_run(root, plugin="pipeline", config={"stages": stages})
    ended(run)
    told.wait_for(1)
    time.sleep(0.5)
    assert [(post["run"], post["what"]) for post in told.posts] == [(run.id, "finished")]


def test_a_failed_run_is_told_once_with_its_reason(
    root: Path, told: Webhook, install: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANTED", "SOME_TOKEN")
    monkeypatch.setenv("SOME_TOKEN", "planted-token")
    install("leaky")
    run = launch.create_run(root, plugin="leaky", config={})
    verdict = ended(run)
    (post,) = told.wait_for(1)
    assert (post["what"], post["severity"], post["message"]) == ("failed", "error", verdict.reason)
    assert "ValueError: [SOME_TOKEN]" in post["message"]
    time.sleep(0.5)
    assert len(told.posts) == 1


def test_a_killed_run_is_told_and_recorded(root: Path, told: Webhook) -> None:
    run = launch.create_run(root, plugin="echo", config={"steps": 1000, "delay_seconds": 0.05})
    launch.start(run)
    launch.send_signal(run, signal.SIGKILL)
    assert launch.wait(run) is not None
    (post,) = told.wait_for(1)
    assert (post["what"], post["message"]) == ("killed", "killed by SIGKILL")
    assert "`rlhf resume` goes on" in post["advice"]
    (alert,) = run.alerts()
    assert (alert.code, alert.severity, alert.attempt) == ("killed", "error", 1)


def test_a_server_that_hangs_holds_up_nothing(root: Path, told: Webhook) -> None:
    hanging = threading.Event()
    told.answers = [lambda handler: status(200 if hanging.wait(20) else 204)(handler)]
    run = launch.create_run(root, plugin="echo", config={"steps": 2})
    began = time.monotonic()
    assert ended(run).exit_code == 0
    told.wait_for(1)
    noted = run.status()
    assert noted is not None
    while is_alive(noted.shim) and time.monotonic() - began < 10:
        time.sleep(0.05)
    assert time.monotonic() - began < 10
    hanging.set()


def test_what_can_not_be_told_is_one_line_in_the_log(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, "gopher://planted-key")
    run = launch.create_run(root, plugin="echo", config={"steps": 1})
    assert ended(run).exit_code == 0
    deadline = time.monotonic() + 20
    while not run.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    (line,) = run.log.read_text().splitlines()
    assert line.startswith("finished could not be told to gopher:///***: ")
    assert "planted" not in line


def test_the_command_line_passes_the_address_on_and_shows_it_masked(tmp_path: Path, webhook: Webhook) -> None:
    environment = {key: value for key, value in os.environ.items() if key != ENVIRONMENT}
    command = [sys.executable, "-m", "rlhf_console", "run", "echo", "--set", "echo.steps=1", "--runs", str(tmp_path)]
    done = subprocess.run([*command, "--notify", webhook.url], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "telling http://127.0.0.1/***" in done.stderr and "planted" not in done.stderr + done.stdout
    webhook.wait_for(1)
    refused = subprocess.run([*command, "--notify", "ftp://x/y"], capture_output=True, text=True, env=environment)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
