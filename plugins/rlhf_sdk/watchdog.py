"""What a worker can't say of itself: that it is stuck, that the disk or the memory is nearly full."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from rlhf_sdk.checkpoints import list_checkpoints
from rlhf_sdk.events import Alert
from rlhf_sdk.evidence import STALLED_AFTER_SECONDS
from rlhf_sdk.machine_samples import MachineSample

GIB = 2**30
DISK_RESERVE_BYTES = GIB
MEMORY_SHARE, MEMORY_BYTES = 0.05, 2 * GIB
LIMIT_SHARE = 0.95
ENOUGH_AGAIN = 1.25
"""An episode is over when what was short has grown by a quarter above the threshold."""


class Watchdog:
    """One alert at the beginning of each episode, and one when a stalled worker goes on.

    `total_memory`: the machine's, in bytes.
    """

    def __init__(self, total_memory: int) -> None:
        self._least_available = min(int(total_memory * MEMORY_SHARE), MEMORY_BYTES)
        self._under_way: set[str] = set()

    def look(self, sample: MachineSample, *, silent_seconds: float, checkpoint_bytes: int) -> list[Alert]:
        """Alerts for what begins or ends with this sample.

        `silent_seconds`: since the worker's heartbeat last moved; `checkpoint_bytes`: what the next checkpoint will
        take.
        """
        found = [
            self._stalled(silent_seconds),
            self._disk(sample.disk_free, checkpoint_bytes),
            self._memory(sample.memory_available),
            self._limit(sample.cgroup_used, sample.cgroup_limit),
        ]
        return [alert for alert in found if alert is not None]

    def _begins(self, code: str, *, free: float, least: float) -> bool:
        """Whether an episode begins now: `free` has fallen below `least`."""
        if code in self._under_way:
            if free >= least * ENOUGH_AGAIN:
                self._under_way.remove(code)
            return False
        if free < least:
            self._under_way.add(code)
            return True
        return False

    def _stalled(self, silent_seconds: float) -> Alert | None:
        if silent_seconds <= STALLED_AFTER_SECONDS:
            if "stalled" not in self._under_way:
                return None
            self._under_way.remove("stalled")
            return Alert(severity="info", code="goes_on", message="the worker goes on")
        if "stalled" in self._under_way:
            return None
        self._under_way.add("stalled")
        return Alert(
            severity="error",
            code="stalled",
            message=f"the worker is alive, but has said nothing for {silent_seconds:.0f} s",
            advice="see output.log; if it hangs, kill the worker (its pid is in status.json) and `rlhf resume`",
        )

    def _disk(self, free: int, checkpoint_bytes: int) -> Alert | None:
        if not self._begins("disk_nearly_full", free=free, least=checkpoint_bytes + DISK_RESERVE_BYTES):
            return None
        needed = f", and a checkpoint takes {checkpoint_bytes / GIB:.2f} GiB" if checkpoint_bytes else ""
        return Alert(
            severity="error",
            code="disk_nearly_full",
            message=f"the disk of the run has {free / GIB:.2f} GiB left{needed}",
            advice="free some, or lower keep_checkpoints: a run that can't write stops with its last good checkpoint",
        )

    def _memory(self, available: int) -> Alert | None:
        if not self._begins("memory_nearly_full", free=available, least=self._least_available):
            return None
        return Alert(
            severity="error",
            code="memory_nearly_full",
            message=f"the machine has {available / GIB:.2f} GiB of memory left",
            advice="close other programs or lower micro_batch_size: the kernel kills when none is left",
        )

    def _limit(self, used: int | None, limit: int | None) -> Alert | None:
        if used is None or limit is None:
            return None
        if not self._begins("memory_limit_near", free=limit - used, least=limit * (1 - LIMIT_SHARE)):
            return None
        return Alert(
            severity="error",
            code="memory_limit_near",
            message=f"{used / GIB:.2f} of the {limit / GIB:.2f} GiB that this container or job may use are used",
            advice="raise the limit or lower micro_batch_size: the kernel kills at the limit",
        )


def newest_checkpoint_bytes(directory: Path) -> int:
    """What the newest checkpoint takes on the disk; 0 before the first."""
    found = list_checkpoints(directory)
    return _bytes_in(found[-1]) if found else 0


@lru_cache(maxsize=4)
def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
