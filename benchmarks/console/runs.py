"""Ten thousand runs in the console's list: seconds until they are listed, on the screen, filtered and all known."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.record import record
from rlhf_console.runs.index import RunIndex
from rlhf_console.tui.app import ConsoleApp
from rlhf_sdk.events import Event, Finished, MetricsLogged, Started, StateChanged, encode_line
from rlhf_sdk.run_record import ExitRecord, ProcessIdentity, RunRecord, RunStatus, encode_record
from rlhf_sdk.states import State

RUNS, STEPS, TRIES = 10_000, 26, 3
OPTIONS = 120
"""As many values as a PPO run's config has."""
SIZE = (120, 40)
TICK = 0.1
BEGAN = 1.8e9


def write_runs(root: Path) -> None:
    """Finished runs of 26 steps, of three plugins."""
    events: list[Event] = [Started(plugin="ppo", total_steps=STEPS), StateChanged(state="running")]
    for step in range(1, STEPS + 1):
        values = {"reward/score_mean": step / 10, "kl/sequence_nats": step / 20, "policy/entropy_nats": 0.5}
        events.append(MetricsLogged(values=values, seconds=1.5, step=step, time=BEGAN + step))
    events += [StateChanged(state="finished", step=STEPS), Finished(exit_code=0, step=STEPS)]
    lines = b"".join(encode_line(msgspec.structs.replace(event, seq=seq)) for seq, event in enumerate(events, 1))
    shim = ProcessIdentity(1, "0")
    status = RunStatus(
        state=State.FINISHED, attempt=1, started=BEGAN, time=BEGAN, host="elsewhere", boot_id="", shim=shim
    )
    verdict = ExitRecord(state=State.FINISHED, attempt=1, exit_code=0, time=BEGAN)
    config = {f"key_{number}": number for number in range(OPTIONS)}
    for number in range(RUNS):
        directory = root / f"run-{number:05}"
        directory.mkdir()
        own = RunRecord(
            id=directory.name,
            plugin=("ppo", "sft", "rm")[number % 3],
            config=config,
            provenance=dict.fromkeys(config, "default"),
            created=BEGAN + number,
        )
        (directory / "run.json").write_bytes(encode_record(own))
        (directory / "status.json").write_bytes(encode_record(status))
        (directory / "exit.json").write_bytes(encode_record(verdict))
        (directory / "events.jsonl").write_bytes(lines)


async def listed(root: Path) -> dict[str, float]:
    """Without a screen: every run's record read and sorted, then every state known."""
    index, began, used = RunIndex(root), time.perf_counter(), time.process_time()
    while len(index.runs) < RUNS:
        await index.refresh()
    found = {"listed_seconds": time.perf_counter() - began, "listed_cpu_seconds": time.process_time() - used}
    while any(run.state is None for run in index.runs):
        await index.refresh()
    return found | {"all_states_seconds": time.perf_counter() - began}


async def on_screen(root: Path) -> dict[str, float]:
    """From the start of the app: the newest runs with state and figures, the count of all; then a filter's answer."""
    began, used = time.perf_counter(), time.process_time()
    app = ConsoleApp(root)
    async with app.run_test(size=SIZE) as pilot:

        async def until(shows: Callable[[str], bool]) -> float:
            while not shows(_text(app)):
                await pilot.pause(TICK)
            return time.perf_counter()

        first = await until(lambda text: "26/26" in text) - began
        shown = await until(lambda text: f"{RUNS} runs" in text) - began
        cpu = time.process_time() - used
        await pilot.press("slash")
        typed = time.perf_counter()
        await pilot.press(*"sft")
        filtered = await until(lambda text: "ppo" not in text and "rm " not in text and "sft" in text) - typed
    return {
        "first_rows_seconds": first,
        "all_on_screen_seconds": shown,
        "all_on_screen_cpu_seconds": cpu,
        "filtered_seconds": filtered,
    }


def _text(app: ConsoleApp) -> str:
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


def main() -> None:
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_runs(root)
        tries = [asyncio.run(listed(root)) | asyncio.run(on_screen(root)) for _ in range(TRIES)]
    figures = {name: round(min(each[name] for each in tries), 3) for name in tries[0]}
    for name, seconds in figures.items():
        print(f"{name:<26} {seconds:6.2f} s")
    record("console-runs", {"runs": RUNS, "tries": TRIES, "best": figures, "load_average": os.getloadavg()[0]})
