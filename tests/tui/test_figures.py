"""What the console costs, as counts; seconds are for `python -m benchmarks console-live` and its like."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.console.material import metric_lines, write_run
from benchmarks.console.terminal import CONSOLE, Terminal
from recorded import append, write_record
from recorded_sweeps import HALF, STEPS, cell_values, write_sweep
from rlhf_console.runs.store import LiveRun
from rlhf_sdk.events import MetricsLogged, encode_line
from rlhf_sdk.run_dir import RunDir

MOST_BYTES = 10 << 10
"""For a drawing of six charts, twice a second: 20 KiB a second."""
ROUNDS = 6


def test_following_a_run_sends_what_changed_alone_and_the_process_has_no_torch(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs", "ppo", rows=2000, metrics=6, total=4000)
    terminal = Terminal(CONSOLE, "ppo", "--runs", str(tmp_path / "runs"), state=tmp_path / "state")
    terminal.seconds_until(lambda text: "Reward (points)" in text and "step 2000/" in text)
    terminal.run_for(1.5)
    before = terminal.received
    terminal.run_for(1.5)
    assert terminal.received == before, "nothing happens, nothing is sent"
    for step in range(2001, 2001 + ROUNDS):
        append(run, "events.jsonl", *metric_lines(step, step, 6))
        terminal.seconds_until(lambda text, step=step: f"step {step}/4000" in text)  # type: ignore[misc]
    assert terminal.received - before < ROUNDS * MOST_BYTES
    assert terminal.mappings("torch") == 0
    terminal.close()


def test_following_a_sweep_sends_what_changed_alone(tmp_path: Path) -> None:
    """Means and bands of three points, three seeds each, all of which go on."""
    write_sweep(tmp_path / "runs", weights=(1, 2, 3))
    cells = sorted((tmp_path / "runs").glob("swept.*"))
    terminal = Terminal(CONSOLE, "swept", "--runs", str(tmp_path / "runs"), state=tmp_path / "state")
    terminal.seconds_until(lambda text: f"60±{HALF:.2g}" in text)
    terminal.run_for(1.5)
    before = terminal.received
    terminal.run_for(1.5)
    assert terminal.received == before, "nothing happens, nothing is sent"
    for step in range(STEPS + 1, STEPS + 1 + ROUNDS):
        for place, cell in enumerate(cells):
            values = cell_values(step, 1 + place // 3, place % 3)
            append(
                cell, "events.jsonl", encode_line(MetricsLogged(values=values, seconds=1.0, step=step, seq=100 + step))
            )
        terminal.seconds_until(lambda text, step=step: f"{3 * step}±{HALF:.2g}" in text)  # type: ignore[misc]
    assert terminal.received - before < ROUNDS * MOST_BYTES
    terminal.close()


def test_keys_are_answered_on_a_slow_line_while_frames_are_left_out(tmp_path: Path) -> None:
    """20 kB a second behind a buffer that takes everything: more is never waiting than a few frames."""
    run = write_run(tmp_path / "runs", "ppo", rows=2000, metrics=6, total=4000)
    terminal = Terminal(
        CONSOLE, "ppo", "--runs", str(tmp_path / "runs"), state=tmp_path / "state", bytes_per_second=20_000
    )
    terminal.seconds_until(lambda text: "Reward (points)" in text and "step 2000/" in text)
    most = 0
    for start in range(2001, 2401, 40):
        append(run, "events.jsonl", *metric_lines(start, start + 39, 6))
        terminal.run_for(0.25)
        most = max(most, terminal.backlog)
    assert most < 4 * MOST_BYTES
    terminal.press("7")
    terminal.seconds_until(lambda text: "Reward (points)" not in text)
    terminal.close()


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(1, 20_000), min_size=1, max_size=30))
def test_no_event_is_lost_or_taken_twice_however_it_is_written(tmp_path_factory, cuts: list[int]) -> None:  # type: ignore[no-untyped-def]
    directory = write_record(tmp_path_factory.mktemp("cut"), "run")
    data, live = b"".join(metric_lines(1, 120, 3)), LiveRun.open(RunDir(directory))
    while data:
        cut = cuts[len(data) % len(cuts)]
        append(directory, "events.jsonl", data[:cut])
        data = data[cut:]
        live.refresh(limit=1000)
    live.catch_up()
    assert [list(series.steps) for series in live.summary.metrics.values()] == [list(range(1, 121))] * 3
