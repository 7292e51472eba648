"""What a worker has opened is closed when it ends, in a process that goes on too."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlhf_sdk import launch
from rlhf_sdk.process_memory import ProcessMemory
from rlhf_sdk.worker import Worker


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """A worker listens to signals; who comes after it here does not."""
    heard = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    before = [signal.getsignal(number) for number in heard]
    yield
    for number, handler in zip(heard, before, strict=True):
        signal.signal(number, handler)


def open_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not tell")
def test_a_worker_leaves_nothing_open(root: Path) -> None:
    before = open_descriptors()
    for attempt in range(3):
        run = launch.create_run(root, plugin="echo", config={"steps": 2, "seed": 0})
        assert Worker(run, attempt=attempt + 1, since=0.0).main() == 0
    assert len(open_descriptors()) == len(before)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not tell")
def test_a_processs_memory_is_read_from_files_that_close_with_it() -> None:
    before = open_descriptors()
    memory = ProcessMemory()
    assert len(open_descriptors()) > len(before)
    del memory
    assert len(open_descriptors()) == len(before)
