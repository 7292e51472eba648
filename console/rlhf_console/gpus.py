"""GPUs by name: what memory a process can use, and how fast they can be at the most."""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from rlhf_sdk.machine import memory_limit
from rlhf_sdk.planning import PlanDevice
from rlhf_sdk.spelling import nearest
from rlhf_sdk.trainer import UserError

GIB, TERA, GIGA = 2**30, 1e12, 1e9
KEPT_SHARE = 0.015
"""Of the memory that a GPU is sold with, what driver and firmware keep at the least."""
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(GB|GiB|G|MB|MiB)", re.IGNORECASE)
UNITS = {"gib": GIB, "mib": 2**20}


@dataclass(frozen=True, slots=True)
class Gpu:
    """GiB that torch reports as total memory; dense tensor-core bf16 and plain fp32 in TFLOP/s; memory in GB/s.

    `link`: GB/s that it sends to others in its machine, half of what the data sheet says of both directions.
    """

    sold_gb: int
    usable_gib: float
    bfloat16: float | None
    float32: float
    bandwidth: float
    link: float

    @property
    def device(self) -> PlanDevice:
        return PlanDevice(
            memory=round(self.usable_gib * GIB),
            float32_flops=self.float32 * TERA,
            bfloat16_flops=self.bfloat16 * TERA if self.bfloat16 else None,
            bandwidth=self.bandwidth * GIGA,
            link=self.link * GIGA,
        )


GPUS = {
    "B200": Gpu(180, 178.3, 2250, 80, 8000, 900),
    "H200": Gpu(141, 139.8, 989, 67, 4800, 450),
    "H100": Gpu(80, 79.1, 989, 67, 3350, 450),
    "H100-NVL": Gpu(94, 93.1, 835, 60, 3900, 300),
    "H100-PCIe": Gpu(80, 79.1, 756, 51, 2000, 64),
    "A100-80GB": Gpu(80, 79.1, 312, 19.5, 2039, 300),
    "A100-40GB": Gpu(40, 39.4, 312, 19.5, 1555, 300),
    "A40": Gpu(48, 44.3, 150, 37.4, 696, 32),
    "A10": Gpu(24, 22.0, 125, 31.2, 600, 32),
    "L40S": Gpu(48, 44.4, 362, 91.6, 864, 32),
    "L4": Gpu(24, 22.0, 121, 30.3, 300, 32),
    "RTX6000Ada": Gpu(48, 47.4, 364, 91.1, 960, 32),
    "RTXA6000": Gpu(48, 47.4, 155, 38.7, 768, 32),
    "RTX5090": Gpu(32, 31.3, 210, 104.8, 1792, 64),
    "RTX4090": Gpu(24, 23.6, 165, 82.6, 1008, 32),
    "RTX3090": Gpu(24, 23.6, 71, 35.6, 936, 32),
    "V100-32GB": Gpu(32, 31.7, None, 15.7, 900, 150),
    "V100-16GB": Gpu(16, 15.8, None, 15.7, 900, 150),
    "T4": Gpu(16, 14.6, None, 8.1, 320, 16),
}
"""Rates from NVIDIA's data sheets and architecture white papers, without sparsity; SXM modules where a name has several
forms. V100 and T4 have no bf16. Links: NVLink of the SXM modules, else PCI Express with 16 lanes.
"""


@dataclass(frozen=True, slots=True)
class Target:
    """What a plan is held against, and where that comes from in words."""

    name: str
    device: PlanDevice
    about: str


def target_of(asked: str) -> Target:
    """The device that `--gpu` names, by size or by name; empty: the GPU here, else this machine's memory.

    Raises `UserError` for a name that is not known and a size that can't be read.
    """
    if not asked:
        return _here()
    known = {_plain(name): name for name in GPUS}
    if _plain(asked) in known:
        name = known[_plain(asked)]
        return Target(name, GPUS[name].device, "what torch reports there; rates from the data sheet")
    if asked[0].isdigit():
        return _of_size(asked)
    names = ", ".join(GPUS)
    raise UserError(f"--gpu {asked!r}: not known; give a size such as 80GB, or {names}.{nearest(asked, GPUS)}")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("nvidia", "").replace("geforce", ""))


def _of_size(asked: str) -> Target:
    found = SIZE.fullmatch(asked.strip())
    if found is None or float(found[1]) == 0:
        raise UserError(f"--gpu {asked!r}: not a size; expected a number and GB or GiB, such as 80GB or 22.5GiB")
    number, unit = float(found[1]), found[2].lower()
    if unit in UNITS:
        return Target(asked, PlanDevice(memory=round(number * UNITS[unit])), "as given; no rates without a GPU's name")
    scale = GIB / 1024 if unit == "mb" else GIB
    memory = round(number * scale * (1 - KEPT_SHARE))
    kept = f"a card sold with {asked}, less {KEPT_SHARE:.1%} that it keeps"
    alike = {name: gpu for name, gpu in GPUS.items() if gpu.sold_gb * GIB == number * scale}
    if not alike:
        return Target(asked, PlanDevice(memory=memory), f"{kept}; no rates without a GPU's name")
    fastest = max(alike, key=lambda name: (alike[name].bfloat16 or 0, alike[name].bandwidth))
    device = msgspec.structs.replace(alike[fastest].device, memory=memory)
    return Target(asked, device, f"{kept}; rates of {fastest}, the fastest of that size here")


def _here() -> Target:
    # The console's first screen needs no library of a GPU's driver.
    from rlhf_sdk.devices import open_devices, read_devices

    found = read_devices(open_devices(), set())
    if not found:
        return Target("this machine", PlanDevice(memory=memory_limit()), "its memory; there is no GPU here")
    name, memory = found[0].name, found[0].memory_total
    plain = _plain(name)
    alike = [gpu for known, gpu in GPUS.items() if plain.startswith(_plain(known.partition("-")[0]))]
    if not alike:
        return Target(name, PlanDevice(memory=memory), "the GPU here; its rates are not known")
    rated = min(alike, key=lambda gpu: abs(gpu.usable_gib * GIB - memory)).device
    device = msgspec.structs.replace(rated, memory=memory)
    return Target(name, device, "the GPU here; rates from the data sheet")
