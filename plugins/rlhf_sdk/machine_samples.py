"""What a line of `machine.jsonl` holds; reading it needs none of the libraries that measured it."""

from __future__ import annotations

import msgspec


class DeviceSample(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU: memory in bytes (`process` is the worker's own share), use in percent, power in watts."""

    index: int
    name: str
    memory_used: int
    memory_total: int
    process: int = 0
    utilization: int | None = None
    power_watts: float | None = None


class MachineSample(msgspec.Struct, frozen=True, kw_only=True):
    """One moment; all in bytes but `cpu_percent` (100 is one core). `cgroup_limit` is None where there is no limit.

    `cgroup_used` is without cached files, which the kernel drops when memory is short.
    """

    time: float
    attempt: int
    rss: int = 0
    cpu_percent: float = 0.0
    memory_available: int
    cgroup_used: int | None = None
    cgroup_limit: int | None = None
    disk_free: int
    devices: list[DeviceSample] = []
