"""A few requests at a time to the Messages API."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

from rlhf_engine.hooks import Hooks
from rlhf_plugins.judges.prompts import Reply
from rlhf_plugins.judges.service import Failure, Service, Todo
from rlhf_plugins.judges.verdict_store import PaidVerdict

POLL_SECONDS = 0.5
ASKING = "judge: questions"


def ask_by_messages(service: Service, todo: Todo, hooks: Hooks) -> Iterator[PaidVerdict]:
    """Answers come out of `todo` and are yielded; between two handfuls of requests the run can be left."""
    total, handful = len(todo), service.config.concurrency
    with ThreadPoolExecutor(handful) as pool:
        while todo and not service.stopped:
            hooks.safe_point()
            with service.store.locked(hooks):
                verdicts = service.take_known(todo)
                asked = service.next_questions(todo, handful, batch=False)
                sent = {key: pool.submit(service.send, todo.pop(key)) for key in asked}
                verdicts += service.settle(_replies(sent, hooks, total - len(todo), total), batch=False)
            yield from verdicts


def _replies(
    sent: dict[str, Future[Reply | Failure]], hooks: Hooks, done: int, total: int
) -> dict[str, Reply | Failure]:
    """Waits for all, and shows meanwhile that the run lives."""
    while wait(sent.values(), timeout=POLL_SECONDS).not_done:
        hooks.progress(ASKING, done - len(sent), total)
    hooks.progress(ASKING, done, total)
    return {key: future.result() for key, future in sent.items()}
