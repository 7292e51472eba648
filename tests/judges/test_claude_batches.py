"""The Claude judge by the Batches API: a batch is paid once, whatever happens to the process that submitted it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from asking_hooks import BOTH_ORDERS, QUESTIONS, AskingHooks, asked, choices, claude
from fake_service import FakeService, Fault, error
from rlhf_plugins.judges.claude import ClaudeJudge
from rlhf_plugins.judges.prompts import key_of
from rlhf_plugins.judges.verdict_store import PendingBatch
from rlhf_sdk.trainer import Interrupted

LONGER = ["second", "first"] * len(QUESTIONS)
BATCH_PRICE = 0.0045 / 2
SUBMIT_AND_WAIT = """
import sys
from pathlib import Path
from asking_hooks import asked, claude
folder = Path(sys.argv[1])
asked(claude(folder, api="batches"), folder)
"""


def by_batches(root: Path, run: str = "run", **changes: Any) -> ClaudeJudge:
    return claude(root, run, **({"api": "batches"} | changes))


def pending(root: Path) -> list[Path]:
    return list((root / "judge").glob("batch-*.json"))


def test_a_batch_answers_everything_at_half_the_price(service: FakeService, tmp_path: Path) -> None:
    service.polls_until_end = 3
    judge = by_batches(tmp_path)
    assert choices(asked(judge, tmp_path)) == LONGER
    assert judge.paid_usd == pytest.approx(BATCH_PRICE * len(BOTH_ORDERS))
    assert (len(service.batches), service.requests, pending(tmp_path), judge.problems) == (1, [], [], [])


def test_many_questions_go_by_batches(service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlhf_plugins.judges.sending.BATCHES_ABOVE", 10)
    asked(claude(tmp_path, "few", api="auto"), tmp_path / "few", BOTH_ORDERS[:10])
    assert (len(service.requests), len(service.batches)) == (10, 0)
    service.answer = lambda request: '{"reason": "", "verdict": "tie"}'
    asked(claude(tmp_path, "many", api="auto", criterion="another"), tmp_path / "many")
    assert (len(service.requests), len(service.batches)) == (10, 1)


def test_items_that_failed_are_no_answers_and_are_asked_again_by_another_run(
    service: FakeService, tmp_path: Path
) -> None:
    failed = [
        {"type": "errored", "error": error("invalid_request_error", "too long")},
        {"type": "expired"},
        {"type": "canceled"},
    ]
    service.results = lambda row, line: line | {"result": failed[row]} if row < len(failed) else line
    judge = by_batches(tmp_path)
    assert choices(asked(judge, tmp_path)) == ["missing"] * 3 + LONGER[3:]
    assert sorted(judge.problems) == [
        "no answer to 1 of 12 questions: canceled in the batch:",
        "no answer to 1 of 12 questions: errored in the batch: invalid_request_error too long",
        "no answer to 1 of 12 questions: expired in the batch:",
    ]
    service.results = lambda row, line: line
    assert choices(asked(by_batches(tmp_path, "another"), tmp_path / "another")) == LONGER
    assert [len(requests) for requests in service.batches.values()] == [len(BOTH_ORDERS), 3]


def test_a_damaged_line_is_read_again_by_the_next_run_and_not_paid_again(service: FakeService, tmp_path: Path) -> None:
    service.results = lambda row, line: '{"custom_id": "cut o' if row == 1 else line
    judge = by_batches(tmp_path)
    assert choices(asked(judge, tmp_path)) == [LONGER[0], "missing", *LONGER[2:]]
    assert judge.problems == ["no answer to 1 of 12 questions: the batch has no result of it that can be read"]
    service.results = lambda row, line: line
    assert choices(asked(by_batches(tmp_path, "another"), tmp_path / "another")) == LONGER
    assert (len(service.batches), pending(tmp_path)) == (1, [])


def test_a_killed_process_leaves_a_batch_that_is_waited_for(service: FakeService, tmp_path: Path) -> None:
    service.polls_until_end = 10**6
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    process = subprocess.Popen(
        [sys.executable, "-c", SUBMIT_AND_WAIT, tmp_path], env={**os.environ, "PYTHONPATH": paths}
    )
    while not any(service.polls.values()) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    service.polls_until_end = 1
    judge = by_batches(tmp_path)
    assert choices(asked(judge, tmp_path)) == LONGER
    assert len(service.batches) == 1
    assert judge.paid_usd == pytest.approx(BATCH_PRICE * len(BOTH_ORDERS))


def test_a_batch_whose_id_was_never_written_is_found(service: FakeService, tmp_path: Path) -> None:
    service.polls_until_end = 10**6
    with pytest.raises(Interrupted):
        asked(by_batches(tmp_path), tmp_path, leave_at=3)
    (file,) = pending(tmp_path)
    batch = msgspec.json.decode(file.read_bytes(), type=PendingBatch)
    assert (batch.id, len(batch.keys)) == ("msgbatch_0", len(BOTH_ORDERS))
    file.write_bytes(msgspec.json.encode(msgspec.structs.replace(batch, id="")))
    service.polls_until_end = 1
    assert choices(asked(by_batches(tmp_path), tmp_path)) == LONGER
    assert len(service.batches) == 1


def test_an_intention_that_never_reached_the_service_is_sent_again(service: FakeService, tmp_path: Path) -> None:
    judge = by_batches(tmp_path)
    keys = [key_of(judge.service.parameters(question)) for question in BOTH_ORDERS]
    judge.service.store.keep(PendingBatch(keys=keys, time=time.time()))
    assert choices(asked(judge, tmp_path)) == LONGER
    assert (len(service.batches), pending(tmp_path)) == (1, [])


def test_two_runs_wait_for_one_batch(service: FakeService, tmp_path: Path) -> None:
    service.polls_until_end = 10**6
    with pytest.raises(Interrupted):
        asked(by_batches(tmp_path, "one"), tmp_path / "one", leave_at=3)
    service.polls_until_end = 1
    other = by_batches(tmp_path, "two")
    assert choices(asked(other, tmp_path / "two")) == LONGER
    one = by_batches(tmp_path, "one")
    assert choices(asked(one, tmp_path / "one")) == LONGER
    assert len(service.batches) == 1
    assert other.paid_usd + one.paid_usd == pytest.approx(BATCH_PRICE * len(BOTH_ORDERS))


def test_a_busy_service_gets_the_batch_once(service: FakeService, tmp_path: Path) -> None:
    service.faults.extend(
        [Fault(529, error("overloaded_error", "overloaded")), Fault(429, error("rate_limit_error", "no"), after="0.02")]
    )
    assert choices(asked(by_batches(tmp_path), tmp_path)) == LONGER
    assert len(service.batches) == 1


def test_a_reply_that_never_came_is_no_second_batch(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = service._batch

    def slow_once(method: str, path: str, body: Any) -> Any:
        found = real(method, path, body)
        if method == "POST":
            time.sleep(0.6)
        return found

    monkeypatch.setattr(service, "_batch", slow_once)
    assert choices(asked(by_batches(tmp_path, timeout_seconds=0.3), tmp_path)) == LONGER
    assert len(service.batches) == 1


def test_a_batch_takes_only_what_can_be_paid_for(service: FakeService, tmp_path: Path) -> None:
    judge = by_batches(tmp_path, spend_limit_usd=0.03)
    answered = len(asked(judge, tmp_path))
    assert 0 < answered < len(BOTH_ORDERS)
    assert judge.paid_usd <= 0.03
    assert f"{len(BOTH_ORDERS) - answered} of 12 questions not asked" in judge.problems[-1]


def test_a_service_that_stays_down_keeps_what_is_there(service: FakeService, tmp_path: Path) -> None:
    service.faults.extend([Fault(529, error("overloaded_error", "overloaded"))] * 100)
    judge = by_batches(tmp_path, retries=1)
    assert asked(judge, tmp_path) == {}
    assert judge.problems == ["12 of 12 questions not asked: 529: overloaded"]
    assert pending(tmp_path) == []


def test_nothing_to_ask_sends_nothing(service: FakeService, tmp_path: Path) -> None:
    hooks = AskingHooks()
    assert list(by_batches(tmp_path).ask([], hooks)) == []
    assert (service.batches, hooks.notes) == ({}, [])


def left_in_a_batch(service: FakeService, root: Path) -> None:
    service.polls_until_end = 10**6
    with pytest.raises(Interrupted):
        asked(by_batches(root), root, leave_at=3)
    service.polls_until_end = 1


def test_a_batch_that_can_not_be_asked_for_now_stays_pending(service: FakeService, tmp_path: Path) -> None:
    left_in_a_batch(service, tmp_path)
    service.faults.append(Fault(500, error("api_error", "try later")))
    judge = by_batches(tmp_path, retries=0)
    assert asked(judge, tmp_path) == {}
    assert judge.problems == ["12 of 12 questions not asked: 500: try later"]
    assert len(pending(tmp_path)) == 1
    assert choices(asked(by_batches(tmp_path), tmp_path)) == LONGER
    assert len(service.batches) == 1


def test_a_batch_that_is_gone_is_submitted_anew(service: FakeService, tmp_path: Path) -> None:
    left_in_a_batch(service, tmp_path)
    service.faults.append(Fault(404, error("not_found_error", "no such batch")))
    hooks = AskingHooks()
    found = list(by_batches(tmp_path).ask(BOTH_ORDERS, hooks))
    assert len(found) == len(BOTH_ORDERS)
    assert len(service.batches) == 2
    assert any("the service has no batch msgbatch_0" in note for note in hooks.notes)
