"""What rank 0 hears before the ranks have met is obeyed by all of them, at the same meeting."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from rlhf_sdk.commands import Pause, send_command
from rlhf_sdk.ranked.control import SharedControl
from rlhf_sdk.states import State
from rlhf_sdk.worker_control import HEARD


class Wire:
    """Carries what rank 0 says to rank 1, which polls after it."""

    def __init__(self) -> None:
        self.said, self.told = 0, b""

    def leader(self) -> Any:
        return End(self, leads=True)

    def follower(self) -> Any:
        return End(self, leads=False)


class End:
    def __init__(self, wire: Wire, *, leads: bool) -> None:
        self.wire, self.leads = wire, leads

    def meet(self, said: int) -> list[int]:
        if self.leads:
            self.wire.said = said
        return [self.wire.said, said]

    def tell(self, data: bytes) -> bytes:
        if self.leads:
            self.wire.told = data
        return self.wire.told


@pytest.fixture
def ranks(tmp_path: Path) -> Any:
    """Controls of both ranks with their ends of a wire; signals are as before afterwards."""
    before = {number: signal.getsignal(number) for number in (*HEARD, signal.SIGHUP)}
    wire = Wire()
    yield [
        (SharedControl(tmp_path, lambda event: None, since=0.0, leads=leads), end)
        for leads, end in ((True, wire.leader()), (False, wire.follower()))
    ]
    for number, handler in before.items():
        signal.signal(number, handler)


def meet(ranks: Any) -> None:
    for control, end in ranks:
        control.share(end)
    for control, _ in ranks:
        control.poll()


def test_a_signal_in_set_up_ends_all_ranks(ranks: Any) -> None:
    first, second = (control for control, _ in ranks)
    first.install_signal_handlers()
    os.kill(os.getpid(), signal.SIGUSR1)
    meet(ranks)
    assert first.ending is not None and first.ending.state is State.REQUEUED
    assert second.ending == first.ending


def test_a_pause_in_set_up_holds_all_ranks(ranks: Any, tmp_path: Path) -> None:
    first, second = (control for control, _ in ranks)
    send_command(tmp_path, Pause())
    first.poll()
    assert first.paused
    meet(ranks)
    assert first.paused and second.paused and second.ending is None
