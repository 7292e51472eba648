"""Which checkpoints stay: the newest, every k-th, the best; and never none."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_plugins.echo import EchoConfig
from rlhf_sdk import launch
from rlhf_sdk.checkpoints import STATE_FILE, WorkerState, damage, latest_good, list_checkpoints, write_checkpoint
from rlhf_sdk.events import Alert
from rlhf_sdk.retention import Retention, prune, retention_of
from rlhf_sdk.run_dir import RunDir


def written(directory: Path, step: int, figure: float | None = None) -> Path:
    metrics = {} if figure is None else {"score": figure}
    state = WorkerState(step=step, seq=0, sample_seq=0, attempt=1, metrics=metrics)
    return write_checkpoint(
        directory, step, lambda folder: (folder / STATE_FILE).write_bytes(msgspec.json.encode(state))
    )


def names(directory: Path) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in list_checkpoints(directory)]


def after_ten_steps(directory: Path, retention: Retention, figures: list[float]) -> list[int]:
    for step, figure in enumerate(figures, start=1):
        prune(written(directory, step, figure), retention)
    return names(directory)


FIGURES = [3.0, 9.0, 1.0, 9.0, 4.0, 0.5, 8.0, 2.0, 7.0, 5.0]


@pytest.mark.parametrize(
    ("retention", "kept"),
    [
        (Retention(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (Retention(newest=2), [9, 10]),
        (Retention(newest=1, every=4), [4, 8, 10]),
        (Retention(newest=1, metric="score"), [2, 10]),
        (Retention(newest=1, metric="score", best_is="lowest"), [6, 10]),
        (Retention(newest=2, every=5, metric="score"), [2, 5, 9, 10]),
        (Retention(newest=1, metric="scores"), [10]),
    ],
)
def test_what_is_kept_of_ten(tmp_path: Path, retention: Retention, kept: list[int]) -> None:
    assert after_ten_steps(tmp_path, retention, FIGURES) == kept


def test_a_figure_that_is_not_finite_is_never_the_best(tmp_path: Path) -> None:
    figures = [math.nan, 2.0, math.inf, 1.0]
    assert after_ten_steps(tmp_path, Retention(newest=1, metric="score"), figures) == [2, 4]


def test_a_config_without_these_keys_keeps_everything() -> None:
    assert retention_of(object()) == Retention()
    config = EchoConfig(keep_checkpoints=3, keep_every=5, keep_best="echo/score", best_is="lowest")
    assert retention_of(config) == Retention(newest=3, every=5, metric="echo/score", best_is="lowest")


def truncated(checkpoint: Path) -> None:
    (checkpoint / STATE_FILE).write_bytes(b"")


def flipped(checkpoint: Path) -> None:
    """Of the same size: nothing but its hash tells."""
    data = (checkpoint / STATE_FILE).read_bytes()
    (checkpoint / STATE_FILE).write_bytes(bytes(byte ^ 1 for byte in data[:1]) + data[1:])


def without_manifest(checkpoint: Path) -> None:
    (checkpoint / "MANIFEST.json").unlink(missing_ok=True)


HARMS = {"none": lambda _: None, "truncated": truncated, "flipped": flipped, "no manifest": without_manifest}
WRITES = st.lists(
    st.tuples(st.integers(0, 12), st.floats(-3, 3), st.sampled_from(sorted(HARMS)), st.integers(0, 12)), max_size=12
)


@settings(deadline=None, max_examples=40)
@given(
    WRITES, st.integers(1, 3), st.integers(0, 3), st.sampled_from(["", "score"]), st.sampled_from(["highest", "lowest"])
)
def test_whatever_is_damaged_the_newest_write_stays_good_and_nothing_that_is_wanted_goes(
    writes: list[tuple[int, float, str, int]],
    newest: int,
    every: int,
    metric: str,
    best_is: Literal["highest", "lowest"],
) -> None:
    retention = Retention(newest=newest, every=every, metric=metric, best_is=best_is)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        directory = Path(folder)
        for step, figure, harm, victim in writes:
            saved = written(directory, step, figure)
            before = {path.name for path in list_checkpoints(directory) if damage(path, contents=False) is None}
            removed = prune(saved, retention)
            assert damage(saved) is None and latest_good(directory)[0] is not None
            assert set(removed) == before - {path.name for path in list_checkpoints(directory)}
            steps = sorted(int(name.removeprefix("step-")) for name in before)
            gone = {int(name.removeprefix("step-")) for name in removed}
            assert not gone & {step, *steps[-newest:], *(s for s in steps if every and s % every == 0)}
            for checkpoint in list_checkpoints(directory):
                if checkpoint.name == f"step-{victim:08d}":
                    HARMS[harm](checkpoint)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=12), st.integers(1, 2), st.sampled_from(["highest", "lowest"]))
def test_the_best_of_all_that_were_ever_written_is_there(
    figures: list[float], newest: int, best_is: Literal["highest", "lowest"]
) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        retention = Retention(newest=newest, metric="score", best_is=best_is)
        kept = after_ten_steps(Path(folder), retention, figures)
    best = max(figures) if best_is == "highest" else min(figures)
    assert best in [figures[step - 1] for step in kept]
    assert set(kept) <= {figures.index(best) + 1, *range(len(figures) - newest + 1, len(figures) + 1)}


def test_a_run_keeps_its_best_and_says_once_that_a_metric_is_misspelt(begin: Callable[..., RunDir]) -> None:
    settings = {"steps": 4, "checkpoint_every": 1, "keep_checkpoints": 1, "best_is": "lowest"}
    run, misspelt = begin(keep_best="echo/sum", **settings), begin(keep_best="echo/sun", **settings)
    assert launch.wait(run) is not None and launch.wait(misspelt) is not None
    assert names(run.checkpoints) == [1, 4] and names(misspelt.checkpoints) == [4]
    told = [event.message for event in misspelt.events() if isinstance(event, Alert)]
    assert told == [
        "step-00000001 has no figure 'echo/sun' (keep_best), so it can't be the best. Did you mean 'echo/sum'?"
    ]
    assert not any(isinstance(event, Alert) for event in run.events())
