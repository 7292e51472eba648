"""What the runs took: time, processor and GPU hours, energy and money, from what was sampled each second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec

from rlhf_console.render import duration, number
from rlhf_console.report.document import Section, Table, Text
from rlhf_console.report.naming import name_of
from rlhf_console.runs.store import LiveRun
from rlhf_sdk.machine_samples import DeviceSample, MachineSample
from rlhf_sdk.tail import Tail

HOUR = 3600.0
JOULES_PER_KWH = 3.6e6
LONGEST_GAP = 30.0
"""Seconds between two samples beyond which nobody knows what happened in between."""


@dataclass
class Costs:
    """Of all attempts of one run, in seconds and joules; `energy` is None where no device told its power."""

    wall: float = 0.0
    cpu: float = 0.0
    gpu: float = 0.0
    energy: float | None = None

    def add(self, earlier: MachineSample, later: MachineSample) -> None:
        """What was used from one sample to the next."""
        seconds = later.time - earlier.time
        used = [device for device in later.devices if device.process]
        self.wall += seconds
        self.cpu += seconds * later.cpu_percent / 100
        self.gpu += seconds * len(used)
        if watts := _watts(used):
            self.energy = (self.energy or 0.0) + seconds * watts


def _watts(devices: Sequence[DeviceSample]) -> float:
    return sum(device.power_watts or 0.0 for device in devices)


def costs_of(run: LiveRun) -> Costs:
    """Read from `machine.jsonl`; a GPU counts while the run's process has memory on it, with its whole power."""
    found, decode = Costs(), msgspec.json.Decoder(MachineSample).decode
    for earlier, later in pairwise(Tail(run.directory.machine_file, decode)):
        if earlier.attempt == later.attempt and later.time - earlier.time <= LONGEST_GAP:
            found.add(earlier, later)
    return found


def costs(runs: Sequence[LiveRun], *, usd_per_gpu_hour: float | None) -> Section:
    """One row for each run, and their sum; money where a price is given."""
    each = [costs_of(run) for run in runs]
    energies = [cost.energy for cost in each if cost.energy is not None]
    total = Costs(
        sum(cost.wall for cost in each),
        sum(cost.cpu for cost in each),
        sum(cost.gpu for cost in each),
        sum(energies) if energies else None,
    )
    names = [*map(name_of, runs), "all"]
    rows = [_row(name, cost, usd_per_gpu_hour) for name, cost in zip(names, [*each, total], strict=True)]
    columns = ["stage", "wall", "CPU hours", "GPU hours", "energy (kWh)", "USD"]
    known = [place for place, _ in enumerate(columns) if any(row[place] is not None for row in rows)]
    table = Table([columns[place] for place in known], [[row[place] for place in known] for row in rows])
    return Section("Time, energy, money", [table, *_unknown(energies, usd_per_gpu_hour)])


def _unknown(energies: Sequence[float], usd_per_gpu_hour: float | None) -> list[Text]:
    if usd_per_gpu_hour is None:
        price = "No price was given (`rlhf report --usd-per-gpu-hour`), so that money is left out."
    else:
        price = f"Money is GPU hours times {number(usd_per_gpu_hour)} USD."
    return [Text(price), *([] if energies else [Text("No device told its power, so that energy is not known.")])]


def _row(name: str, cost: Costs, usd_per_gpu_hour: float | None) -> list[str | float | None]:
    energy = None if cost.energy is None else cost.energy / JOULES_PER_KWH
    gpu_hours = cost.gpu / HOUR
    money = None if usd_per_gpu_hour is None else gpu_hours * usd_per_gpu_hour
    return [name, duration(cost.wall), cost.cpu / HOUR, gpu_hours, energy, money]
