"""Many questions at half the price, by the Message Batches API. A batch outlives the process that submitted it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from rlhf_engine.hooks import Hooks
from rlhf_plugins.judges.prompts import Reply
from rlhf_plugins.judges.questions import one_line
from rlhf_plugins.judges.service import REFUSED_FOR_ALL, REFUSED_FOR_ONE, Failure, Service, Todo, failure_of
from rlhf_plugins.judges.verdict_store import PaidVerdict, PendingBatch

if TYPE_CHECKING:
    from anthropic.types.messages import MessageBatch

MOST_REQUESTS = 10_000
"""In one batch: a tenth of what the API takes, so that results stay small enough to read at once."""
POLL_SECONDS = 20.0
NAP_SECONDS = 0.5
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
CLOCK_TOLERANCE_SECONDS = 300.0
WAITING = "judge: questions in a batch"


def ask_by_batches(service: Service, todo: Todo, hooks: Hooks) -> Iterator[PaidVerdict]:
    """Answers come out of `todo` and are yielded; a batch under way is waited for, whichever run submitted it."""
    while todo and not service.stopped:
        hooks.safe_point()
        with service.store.locked(hooks):
            verdicts = service.take_known(todo)
            batch = _next_batch(service, todo, hooks)
        yield from verdicts
        if batch is not None and (url := _results_url(service, batch, hooks)):
            with service.store.locked(hooks):
                verdicts = _collected(service, batch, url, todo)
            yield from verdicts


def _next_batch(service: Service, todo: Todo, hooks: Hooks) -> PendingBatch | None:
    """One under way that has some of the questions, or a new one; None: there is none, and `stopped` may say why."""
    from anthropic import APIError

    try:
        return _pending(service, todo) or _submitted(service, todo, hooks)
    except APIError as error:
        service.stopped = failure_of(error).reason
        return None


def _pending(service: Service, todo: Todo) -> PendingBatch | None:
    """A batch that was submitted and has some of the questions."""
    for batch in service.store.pending():
        if todo.keys() & set(batch.keys):
            if identified := _identified(service, batch):
                return identified
            service.store.drop(batch)
    return None


def _identified(service: Service, batch: PendingBatch) -> PendingBatch | None:
    """With its id, which a process that died while it submitted has not written; None if it was never submitted."""
    if batch.id:
        return batch
    since = batch.time - CLOCK_TOLERANCE_SECONDS
    ours = {other.id for other in service.store.pending()}
    for found in service.client.messages.batches.list(limit=100).data:
        if found.created_at.timestamp() >= since and _size(found) == len(batch.keys) and found.id not in ours:
            return _kept(service, batch, found.id)
    return None


def _size(batch: MessageBatch) -> int:
    counts = batch.request_counts
    return counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired


def _kept(service: Service, batch: PendingBatch, batch_id: str) -> PendingBatch:
    identified = msgspec.structs.replace(batch, id=batch_id)
    service.store.keep(identified)
    return identified


def _submitted(service: Service, todo: Todo, hooks: Hooks) -> PendingBatch | None:
    """A new batch of what can be paid for; the intention is on disk before it is sent. None: nothing was submitted."""
    from anthropic import APIStatusError

    asked = service.next_questions(todo, MOST_REQUESTS, batch=True)
    if not asked:
        return None
    batch = PendingBatch(keys=list(asked), time=time.time())
    requests = [{"custom_id": key, "params": service.parameters(question)} for key, question in asked.items()]
    service.store.keep(batch)
    try:
        submitted = _create(service, batch, requests, hooks)
    except APIStatusError:
        service.store.drop(batch)
        raise
    hooks.note(f"judge: batch {submitted.id} of {len(asked)} questions submitted")
    return submitted


def _create(service: Service, batch: PendingBatch, requests: Sequence[Any], hooks: Hooks) -> PendingBatch:
    """Tries again where the service is busy; where no answer came it looks first whether the batch is there."""
    from anthropic import APIError

    once = service.client.with_options(max_retries=0)
    for attempt in range(service.config.retries + 1):
        try:
            return _kept(service, batch, once.messages.batches.create(requests=requests).id)
        except APIError as error:
            status = getattr(error, "status_code", None)
            if status is None and (found := _identified(service, batch)):
                return found
            refused = status in REFUSED_FOR_ALL or status in REFUSED_FOR_ONE
            if refused or attempt == service.config.retries:
                raise
            _pause(_seconds_before(attempt, error), hooks)
    raise AssertionError("the last attempt returns or raises")


def _seconds_before(attempt: int, error: Any) -> float:
    """What the service asks for, or ever longer."""
    asked = error.response.headers.get("retry-after") if hasattr(error, "response") else None
    return float(asked) if asked else min(FIRST_PAUSE_SECONDS * 2**attempt, LONGEST_PAUSE_SECONDS)


def _pause(seconds: float, hooks: Hooks) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, NAP_SECONDS))
        hooks.safe_point()


def _results_url(service: Service, batch: PendingBatch, hooks: Hooks) -> str:
    """Waits for its end; empty where it can't be asked for (it stays pending), and where its results are gone."""
    from anthropic import APIError, NotFoundError

    while True:
        try:
            found = service.client.messages.batches.retrieve(batch.id)
        except NotFoundError:
            break
        except APIError as error:
            service.stopped = failure_of(error).reason
            return ""
        if found.processing_status == "ended":
            if found.results_url:
                return found.results_url
            break
        hooks.progress(WAITING, _size(found) - found.request_counts.processing, _size(found))
        _pause(POLL_SECONDS, hooks)
    hooks.note(f"judge: the service has no batch {batch.id}, or no more its results; its questions are asked anew")
    service.store.drop(batch)
    return ""


class _Error(msgspec.Struct, frozen=True):
    type: str = ""
    message: str = ""


class _ErrorResponse(msgspec.Struct, frozen=True):
    error: _Error = _Error()


class _Result(msgspec.Struct, frozen=True):
    type: str
    message: Reply | None = None
    error: _ErrorResponse = _ErrorResponse()


class _Line(msgspec.Struct, frozen=True):
    """One line of a batch's results."""

    custom_id: str
    result: _Result


class _Results(NamedTuple):
    replies: dict[str, Reply | Failure]
    whole: bool


def _collected(service: Service, batch: PendingBatch, url: str, todo: Todo) -> list[PaidVerdict]:
    """Verdicts of the batch that answer what is to do; what failed in it is not asked again by this run."""
    from anthropic import APIError

    try:
        replies, whole = _results(service, url)
    except APIError as error:
        service.stopped = failure_of(error).reason
        return []
    if replies and not replies.keys() & set(batch.keys):
        service.store.drop(batch)
        return []
    already = service.take_known(todo)
    new = {key: reply for key, reply in replies.items() if key not in service.store.known()}
    verdicts = [verdict for verdict in service.settle(new, batch=True) if verdict.key in todo]
    if lost := sum(key in todo and key not in replies for key in batch.keys):
        service.unanswered["the batch has no result of it that can be read"] += lost
    for key in batch.keys:
        todo.pop(key, None)
    if whole:
        service.store.drop(batch)
    return already + verdicts


def _results(service: Service, url: str) -> _Results:
    """By key. `whole`: no line of them was damaged; a batch with damaged results is looked at again by the next run."""
    text = service.client.get(url, cast_to=str)
    found, damaged = dict[str, Reply | Failure](), 0
    for line in text.splitlines():
        try:
            result = msgspec.json.decode(line, type=_Line)
        except (ValueError, RecursionError):
            damaged += 1
            continue
        found[result.custom_id] = _outcome(result.result)
    return _Results(found, whole=not damaged)


def _outcome(result: _Result) -> Reply | Failure:
    if result.message is not None:
        return result.message
    error = result.error.error
    return Failure(one_line(f"{result.type} in the batch: {error.type} {error.message}"), of_one=True)
