"""A local server that speaks the Messages and the Message Batches API, with faults on demand."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "a-key-that-is-right"
USAGE = {"input_tokens": 1000, "output_tokens": 100}
"""Of every reply: 0.0045 USD at 3 and 15 USD."""
Json = dict[str, Any]


def texts_of(request: Json) -> list[str]:
    """Prompt, response A and response B of one request, by the marks around them."""
    content = request["messages"][0]["content"]
    mark = re.match(r"\[([0-9a-f]{16})\]", content)
    assert mark is not None
    names = ("prompt", "response A", "response B")
    return [content.split(f"[{mark[1]}] {n} begins\n")[1].split(f"\n[{mark[1]}] {n} ends")[0] for n in names]


def prefers_longer(request: Json) -> str:
    _, first, second = texts_of(request)
    return verdict("A" if len(first) > len(second) else "B")


def verdict(letter: str) -> str:
    return json.dumps({"reason": "it is better", "verdict": letter})


def message(text: str, stop_reason: str = "end_turn") -> Json:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-6",
        "content": [{"type": "text", "text": text}],
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": USAGE,
    }


def error(kind: str, said: str) -> Json:
    return {"type": "error", "error": {"type": kind, "message": said}}


class Fault:
    """A reply to one request instead of a message; `hang` waits before, `cut` sends half of the body."""

    def __init__(self, status: int, body: Json | str, *, hang: float = 0.0, cut: bool = False, after: str = "") -> None:
        self.status, self.body, self.hang, self.cut, self.after = status, body, hang, cut, after


class FakeService:
    """`answer` decides every question; `faults` come first, one a request; `results` may change a batch's line."""

    def __init__(self) -> None:
        self.answer: Callable[[Json], str | Json] = prefers_longer
        self.faults: deque[Fault] = deque()
        self.requests: list[Json] = []
        self.batches: dict[str, list[Json]] = {}
        self.polls_until_end = 1
        self.polls: dict[str, int] = {}
        self.results: Callable[[int, Json], Json | str] = lambda row, line: line
        self.url = ""

    def respond(self, method: str, path: str, key: str, body: Json) -> Fault:
        """Status and body of a reply."""
        if key != f"Bearer {KEY}":
            return Fault(401, error("authentication_error", "invalid key"))
        if method == "GET" and path.startswith("/v1/models/"):
            return Fault(200, {"id": path.rpartition("/")[2], "type": "model", "display_name": "", "created_at": now()})
        if path == "/v1/messages":
            return self._message(body)
        if self.faults:
            return self.faults.popleft()
        return Fault(200, self._batch(method, path.partition("?")[0], body))

    def _message(self, body: Json) -> Fault:
        self.requests.append(body)
        return self.faults.popleft() if self.faults else Fault(200, self.reply(body))

    def reply(self, request: Json) -> Json:
        found = self.answer(request)
        return found if isinstance(found, dict) else message(found)

    def _batch(self, method: str, path: str, body: Json) -> Json | str:
        if method == "POST":
            name = f"msgbatch_{len(self.batches)}"
            self.batches[name], self.polls[name] = body["requests"], 0
            return self._status(name)
        if path.endswith("/batches"):
            data = [self._status(name) for name in reversed(self.batches)]
            return {"data": data, "has_more": False, "first_id": None, "last_id": None}
        name = path.split("/")[4]
        if path.endswith("/results"):
            return self._results(name)
        self.polls[name] += 1
        return self._status(name)

    def _status(self, name: str) -> Json:
        ended = self.polls[name] >= self.polls_until_end
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        counts["succeeded" if ended else "processing"] = len(self.batches[name])
        return {
            "id": name,
            "type": "message_batch",
            "processing_status": "ended" if ended else "in_progress",
            "request_counts": counts,
            "created_at": now(),
            "expires_at": now(hours=24),
            "ended_at": now() if ended else None,
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": f"{self.url}/v1/messages/batches/{name}/results" if ended else None,
        }

    def _results(self, name: str) -> str:
        """In another order than asked."""
        rows = []
        for row, asked in enumerate(self.batches[name]):
            result = {"type": "succeeded", "message": self.reply(asked["params"])}
            line = self.results(row, {"custom_id": asked["custom_id"], "result": result})
            rows.append(line if isinstance(line, str) else json.dumps(line))
        return "".join(f"{line}\n" for line in reversed(rows))


def now(hours: float = 0.0) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


@contextmanager
def serving(service: FakeService) -> Iterator[str]:
    """The address of a server with this service behind it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply({})

        def do_POST(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def _reply(self, body: Json) -> None:
            fault = service.respond(self.command, self.path, self.headers.get("authorization", ""), body)
            time.sleep(fault.hang)
            data = (fault.body if isinstance(fault.body, str) else json.dumps(fault.body)).encode()
            self.send_response(fault.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            if fault.after:
                self.send_header("retry-after", fault.after)
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if fault.cut else data)

        def log_message(self, *_: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield service.url
    finally:
        server.shutdown()
        server.server_close()
