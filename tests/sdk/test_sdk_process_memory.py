"""Resident memory of this very process."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from rlhf_sdk.process_memory import PEAK_RESET, ProcessMemory

MIB = 1 << 20
SLACK = 16 * MIB


def test_rss_is_what_the_system_says() -> None:
    assert abs(ProcessMemory().read()["rss"] - psutil.Process().memory_info().rss) < SLACK


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a peak begin anew")
def test_the_peak_is_the_highest_since_the_reset() -> None:
    memory = ProcessMemory()
    if "rss_peak" not in memory.read():
        pytest.skip("this container does not let the peak begin anew")
    memory.reset_peak()
    before = memory.read()["rss"]
    block = bytearray(128 * MIB)
    high = memory.read()["rss_peak"]
    del block
    assert memory.read()["rss_peak"] + SLACK >= high >= before + 128 * MIB - SLACK
    memory.reset_peak()
    assert memory.read()["rss_peak"] <= high - 128 * MIB + 2 * SLACK


def test_where_a_peak_can_not_begin_anew_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t 300 kB\nVmRSS:\t 200 kB\n")
    memory = ProcessMemory(tmp_path)
    memory.reset_peak()
    assert memory.read() == {"rss": 200 << 10}


def test_the_peak_begins_anew_by_writing_5(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("VmHWM:\t 300 kB\nVmRSS:\t 200 kB\n")
    (tmp_path / "clear_refs").touch()
    memory = ProcessMemory(tmp_path)
    memory.reset_peak()
    assert memory.read() == {"rss": 200 << 10, "rss_peak": 300 << 10}
    assert (tmp_path / "clear_refs").read_bytes() == PEAK_RESET


def test_without_proc_there_is_psutil(tmp_path: Path) -> None:
    assert ProcessMemory(tmp_path).read().keys() == {"rss"}
