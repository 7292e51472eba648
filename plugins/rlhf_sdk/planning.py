"""What a plugin can say about a run beyond its memory plan: what would save memory, what fits, how fast it can be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rlhf_sdk.spec import PlanRow


class PlanDevice(msgspec.Struct, frozen=True, kw_only=True):
    """Where the run would be: bytes that a process can use; operations and bytes a second, None where unknown.

    `link`: bytes a second that it sends to the other devices of its machine.
    """

    memory: int
    float32_flops: float | None = None
    bfloat16_flops: float | None = None
    bandwidth: float | None = None
    link: float | None = None


class PlanRanks(msgspec.Struct, frozen=True, kw_only=True):
    """Processes that train one model together, on each of so many machines; `network`: bytes a second that one machine
    sends to the others.
    """

    processes: int = 1
    machines: int = 1
    network: float | None = None

    @property
    def size(self) -> int:
        """Ranks in all."""
        return self.processes * self.machines


ALONE = PlanRanks()


class AdviceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin's name, its config, and the device that it is planned for.

    `stages` has {"plugin", "config"} of each stage of the profile, by name: what a link "stage:NAME" that is still in
    the config would become.
    """

    plugin: str
    config: Any
    device: PlanDevice
    ranks: PlanRanks = ALONE
    stages: Mapping[str, Mapping[str, Any]] = {}


class PlanSwitch(msgspec.Struct, frozen=True, kw_only=True):
    """Settings as `--set` takes them, the bytes that they save, and the peak that is left with its phase."""

    settings: list[str]
    saved: int
    peak: int
    phase: str


class LargestBatch(msgspec.Struct, frozen=True, kw_only=True):
    """The highest value of `key` whose peak fits; 0 where not even one row does. `useful`: more makes no difference."""

    key: str
    configured: int
    largest: int
    useful: int


class PhaseFloor(msgspec.Struct, frozen=True):
    """Seconds that a phase of one step takes at the least."""

    phase: str
    seconds: float


class StageFloors(msgspec.Struct, frozen=True, kw_only=True):
    """Floors of one step by phase; `steps` of the whole run, None where the data decides."""

    stage: str
    phases: list[PhaseFloor]
    steps: int | None


class PhaseTraffic(msgspec.Struct, frozen=True):
    """Bytes of `what` that a rank sends in a phase of one step; seconds at the least, None where no rate is known."""

    phase: str
    what: str
    bytes: int
    seconds: float | None


class StageTraffic(msgspec.Struct, frozen=True, kw_only=True):
    """What one rank of a stage sends in a step."""

    stage: str
    phases: list[PhaseTraffic]


class RankLayout(msgspec.Struct, frozen=True, kw_only=True):
    """One rank under one layout: settings as `--set` takes them, the peak with its phase, bytes sent in a step, and
    seconds that a step takes at the least, None where no rates are known.

    `sharding` and `layout` name it in a table; `same_algorithm`: it trains what the config trains.
    """

    sharding: str
    layout: str
    settings: list[str]
    peak: int
    phase: str
    sent: int
    seconds: float | None
    same_algorithm: bool


class PlanAdvice(msgspec.Struct, frozen=True, kw_only=True):
    """`rows` are the memory plan; `switches` by saving, the largest first; `floors` where the device's rates are known,
    under `assumptions`. Of several ranks: what one of them needs, `traffic` and the `layouts` that there are.
    """

    rows: list[PlanRow]
    switches: list[PlanSwitch] = []
    largest: list[LargestBatch] = []
    floors: list[StageFloors] = []
    assumptions: list[str] = []
    traffic: list[StageTraffic] = []
    layouts: list[RankLayout] = []
