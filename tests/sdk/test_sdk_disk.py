"""Real file systems that are full or read-only: a clear reason, a good checkpoint, and nothing recorded is lost."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rlhf_sdk import launch
from rlhf_sdk.checkpoints import latest_good, list_checkpoints
from rlhf_sdk.events import Finished, MetricsLogged
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.states import State
from rlhf_sdk.trainer import UserError

STEPS = 900


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def unmount(place: Path) -> None:
    subprocess.run(["umount", "--lazy", str(place)], check=True, capture_output=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    try:
        mount("-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"file systems can't be mounted here: {error}")
    yield place
    unmount(place)


def ended(run: RunDir) -> tuple[int, str]:
    verdict = launch.wait(run)
    assert verdict is not None
    return verdict.exit_code, verdict.reason


def straight_scores(seed: int) -> list[float]:
    return [random.Random(f"{seed}/{step}").random() for step in range(STEPS)]


def test_a_run_fills_the_disk_ends_in_words_and_goes_on_when_there_is_room(
    small_disk: Path, folded: Callable[[RunDir], dict[int, dict[str, float]]]
) -> None:
    config = {"steps": STEPS, "seed": 5, "checkpoint_every": 50, "text": "x" * 200}
    run = launch.create_run(small_disk, plugin="echo", config=config)
    launch.start(run)
    code, reason = ended(run)
    assert code == 2 and "No space left on device" in reason
    last = run.last_events(1)[-1]
    assert isinstance(last, Finished) and last.reason == reason
    good, damaged = latest_good(run.checkpoints)
    assert good is not None and damaged == {}
    recorded = {event.step: event.values for event in run.events() if isinstance(event, MetricsLogged)}
    assert 50 <= len(recorded) < STEPS
    mount("-o", "remount,size=64m", str(small_disk))
    launch.resume(run)
    assert ended(run) == (0, "")
    whole = folded(run)
    assert [values["echo/score"] for values in whole.values()] == straight_scores(5)
    assert {step: whole[step] for step in recorded} == recorded
    samples = {sample.step: sample.metrics["score"] for sample in run.samples()}
    assert list(samples.values()) == straight_scores(5)


def test_checkpoints_that_can_not_be_written(small_disk: Path) -> None:
    """The folder is there, and read-only."""
    run = launch.create_run(small_disk, plugin="echo", config={"steps": 4, "checkpoint_every": 2})
    run.checkpoints.mkdir()
    mount("--bind", str(run.checkpoints), str(run.checkpoints))
    mount("-o", "remount,bind,ro", str(run.checkpoints))
    launch.start(run)
    code, reason = ended(run)
    unmount(run.checkpoints)
    assert code == 2 and "Read-only file system" in reason
    launch.resume(run)
    assert ended(run) == (0, "") and len(list_checkpoints(run.checkpoints)) == 2


def test_a_run_directory_that_is_read_only_is_refused_in_words(small_disk: Path) -> None:
    run = launch.create_run(small_disk, plugin="echo", config={"steps": 2})
    mount("-o", "remount,ro", str(small_disk))
    with pytest.raises(UserError, match="can't be written: Read-only file system"):
        launch.start(run)
    assert run.state() is State.CREATED
    with pytest.raises(UserError, match=r"can't make a run in .*Read-only file system"):
        launch.create_run(small_disk, plugin="echo", config={"steps": 2})
    mount("-o", "remount,rw", str(small_disk))
    launch.start(run)
    assert ended(run) == (0, "")
