"""A hundred thousand samples: seconds until they can be browsed, ordered and searched."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks.console.material import BEGAN, write_run
from benchmarks.console.terminal import Terminal
from benchmarks.record import record
from rlhf_console.runs.sample_query import ORDERS, TITLE_ORDER, Query, select
from rlhf_console.runs.samples_file import SamplesFile
from rlhf_sdk.events import Sample, encode_line

SAMPLES, PER_STEP, WORDS, TRIES = 100_000, 4, 120, 3
VOCABULARY = [f"word{number}" for number in range(2000)]
OLDEST, NEWEST = "the very oldest of all", "the very newest of all"


def write_samples(directory: Path) -> int:
    """Posts of about 120 words, responses of 20 tokens with figures of each; the file's bytes."""
    chance = random.Random(0)
    with (directory / "samples.jsonl").open("wb") as stream:
        for seq in range(1, SAMPLES + 1):
            post = " ".join(chance.choices(VOCABULARY, k=WORDS))
            said = {1: OLDEST, SAMPLES: NEWEST}.get(seq, post[:90])
            figures = [round(chance.gauss(0.0, 1.0), 6) for _ in range(20)]
            sample = Sample(
                seq=seq, time=BEGAN, step=(seq - 1) // PER_STEP, tag="rollout", index=seq % 5000,
                prompt=f"SUBREDDIT: r/advice\n\nTITLE: {post[:40]}\n\nPOST: {post}\n\nTL;DR:", response=said,
                reference=post[-90:], ended=seq % 50 > 0,
                metrics={"score": figures[0], "kl/sequence_nats": figures[1], "response_tokens": 20.0},
                token_ends=[min(place * 5, len(said)) for place in range(1, 20)] + [len(said)],
                token_values={"kl_nats": figures, "reward": figures},
            )  # fmt: skip
            stream.write(encode_line(sample))
        return stream.tell()


def headless(path: Path) -> dict[str, float]:
    """What reading takes without a screen, in seconds; CPU seconds of it all."""
    used, began = time.process_time(), time.perf_counter()
    samples = SamplesFile(path)
    samples.read()
    assert samples.newest is not None and samples.newest.response == NEWEST
    found = {"newest_seconds": time.perf_counter() - began}
    samples.browse()
    while samples.lines.share < 1.0:
        samples.read()
    rows = select(samples, Query(), {1: 0})
    oldest = samples.sample(rows[-1])
    assert len(rows) == SAMPLES and oldest is not None and oldest.response == OLDEST
    found["all_browsable_seconds"] = time.perf_counter() - began
    samples.read_all()
    found["figures_known_seconds"] = time.perf_counter() - began
    for order in ORDERS[1:]:
        found[f"{order}_seconds"] = _seconds(lambda order=order: _ordered(samples, order))  # type: ignore[misc]
    found["search_seconds"] = _seconds(lambda: _searched(samples))
    return found | {"cpu_seconds": time.process_time() - used}


def _seconds(do: Callable[[], None]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def _ordered(samples: SamplesFile, order: str) -> None:
    if order == TITLE_ORDER:
        samples.measure_title_copies()
        samples.read_all()
    select(samples, Query(order), {1: 0})


def _searched(samples: SamplesFile) -> None:
    samples.search("word7 word11")
    samples.read_all()
    select(samples, Query(words="word7 word11"), {1: 0})


def on_screen(root: Path, run_id: str) -> dict[str, float]:
    """In the console on a terminal of 120 x 40: from the key to what is asked for on the screen."""
    terminal = Terminal("rlhf_console.tui.main", run_id, "--runs", str(root), state=root)
    try:
        terminal.seconds_until(lambda text: "Samples" in text and "step" in text)
        terminal.run_for(1.0)
        resting = terminal.rss_bytes
        terminal.press("2")
        opened = terminal.seconds_until(lambda text: "EOS  response" in text and NEWEST in text)
        listed = opened + terminal.seconds_until(lambda text: f"1 of {SAMPLES}" in text)
        terminal.press("\x1b[F")
        oldest = terminal.seconds_until(lambda text: OLDEST in text)
        whole = listed + oldest + terminal.seconds_until(lambda text: "% read" not in text)
        terminal.press("o")
        ordered = terminal.seconds_until(lambda text: "lowest score" in text)
        rss = terminal.rss_bytes
    finally:
        terminal.close()
    return {
        "screen_newest_seconds": opened, "screen_all_listed_seconds": listed, "screen_oldest_seconds": oldest,
        "screen_all_read_seconds": whole, "screen_ordered_seconds": ordered, "rss_before_mib": resting / 2**20,
        "rss_mib": rss / 2**20,
    }  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        directory = write_run(root, "ppo-samples", rows=100, metrics=6)
        size = write_samples(directory)
        tries = [headless(directory / "samples.jsonl") | on_screen(root, directory.name) for _ in range(TRIES)]
    best = {name: round(min(each[name] for each in tries), 4) for name in tries[0]}
    about = {"samples": SAMPLES, "mib": round(size / 2**20, 1), "load": psutil.getloadavg()[0]}
    record("console-samples", {**about, "best_of": TRIES, "figures": best})
    print("  ".join(f"{name} {value:g}" for name, value in best.items()))
