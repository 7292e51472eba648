"""How to do it again: seeds, versions, code, machine, command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from rlhf_console.render import size
from rlhf_console.report.document import Block, Code, Section, Table, Text
from rlhf_console.report.naming import name_of
from rlhf_console.runs.store import LiveRun
from rlhf_sdk.machine_samples import MachineSample
from rlhf_sdk.tail import Tail


def reproduction(run: LiveRun, runs: Sequence[LiveRun]) -> Section:
    """Of a pipeline the seed of every stage; the rest is the same for all."""
    record = run.record
    seeds = ", ".join(f"{name_of(each)} {each.record.seed}" for each in runs)
    facts: list[list[Any]] = [["seed", seeds], *([name, version] for name, version in record.versions.items())]
    if record.git is not None:
        changed = " (with changes that are not committed)" if record.git.dirty else ""
        facts.append(["git", record.git.revision + changed])
    facts += [["device", device] for device in dict.fromkeys(device for each in runs for device in _devices(each))]
    blocks: list[Block] = [Table(["what", "which"], facts)]
    if record.argv:
        blocks += [Text(f"Started in {record.cwd} by:" if record.cwd else "Started by:"), Code(_command(record.argv))]
    blocks.append(Text("The settings of every stage are above, in full; they stand in its run.json too."))
    return Section("How to do it again", blocks)


def _devices(run: LiveRun) -> Iterator[str]:
    """What the run computed on, by its newest sample of the machine."""
    samples = [*Tail(run.directory.machine_file, msgspec.json.Decoder(MachineSample).decode)]
    if samples:
        used = [device for device in samples[-1].devices if any(_uses(each, device.index) for each in samples)]
        yield from (f"{device.name}, {size(device.memory_total)}" for device in used)
        if not used:
            yield "CPU"


def _uses(sample: MachineSample, index: int) -> bool:
    return any(device.index == index and device.process for device in sample.devices)


def _command(argv: Sequence[str]) -> str:
    """`argv` is that of `rlhf` without its own name, or that of the console with it."""
    return shlex.join(argv if argv[0] == "rlhf-console" else ["rlhf", *argv])
