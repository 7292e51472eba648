"""How many runs a machine has room for side by side, and which GPUs each of them sees."""

from __future__ import annotations

import os

from rlhf_sdk.devices import open_devices

VISIBLE = "CUDA_VISIBLE_DEVICES"
AUTO = 0
"""As many slots as the GPUs have room for."""


def visible_devices() -> list[str]:
    """Names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES spells them."""
    named = os.environ.get(VISIBLE)
    if named is None:
        return [str(index) for index in range(len(open_devices()))]
    return [name.strip() for name in named.split(",") if name.strip()]


def slot_count(wanted: int, processes: int) -> int:
    """`wanted`; of `AUTO` as many as there are GPUs for, where each run has so many processes; at least one."""
    return wanted or max(len(visible_devices()) // max(processes, 1), 1)


def slot_variables(slots: int, processes: int) -> list[dict[str, str]]:
    """The environment of each slot's runs: with several GPUs as many of them as a run has processes, in turn.

    Empty where there is one slot, which has all of them, and where there are no several.
    """
    devices, each = visible_devices(), max(processes, 1)
    if slots == 1 or len(devices) < 2:
        return [{} for _ in range(slots)]
    first = [slot * each for slot in range(slots)]
    of_slot = [dict.fromkeys(devices[(start + place) % len(devices)] for place in range(each)) for start in first]
    return [{VISIBLE: ",".join(names)} for names in of_slot]
