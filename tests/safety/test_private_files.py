"""Whatever the umask, nobody else can read what a run or the console writes, not even while it is being written."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rlhf_sdk import launch
from rlhf_sdk.run_dir import RunDir

PROFILE = """
[common]
seed = 3

[sft]
batch_size = 4
micro_batch_size = 2
sample_count = 1
checkpoint_every = 1
device = "cpu"
threads = 1
data = {source = ["world"], max_rows = 12, world_seed = 1}
eval_data = {source = ["world"], max_rows = 2, world_seed = 2}

[sft.model.init]
hidden_size = 8
layers = 1
heads = 2

[sft.tokenizer]
train_vocab_size = 300

[echo]
steps = 2

[pipeline]
stages = ["sft", "echo"]
"""


class Watcher:
    """Looks at every path below `folder` again and again, and keeps the widest permissions that each ever had."""

    def __init__(self, folder: Path) -> None:
        self.seen: dict[str, int] = {}
        self._folder = folder
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.002):
            self._look()
        self._look()

    def _look(self) -> None:
        for parent, folders, files in os.walk(self._folder):
            for name in (*folders, *files):
                path = os.path.join(parent, name)  # noqa: PTH118 - quick
                try:
                    mode = os.lstat(path).st_mode
                except FileNotFoundError:
                    continue
                self.seen[path] = self.seen.get(path, 0) | mode

    def wide(self) -> dict[str, str]:
        return {path: stat.filemode(mode) for path, mode in self.seen.items() if mode & 0o077}


def test_a_whole_pipeline_is_private(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(PROFILE)
    made = tmp_path / "made"
    made.mkdir()
    environment = os.environ | {"RLHF_RUNS": str(made / "deep" / "runs"), "XDG_CACHE_HOME": str(made / "cache")}
    command = [sys.executable, "-P", "-m", "rlhf_console", "run", "pipeline", "-p", str(tmp_path / "small.toml")]
    with Watcher(made) as watcher:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, umask=0)
    assert done.returncode == 0, done.stderr
    names = {Path(path).name for path in watcher.seen}
    assert {"run.json", "exit.json", "samples.jsonl", "model.safetensors", "MANIFEST.json", "output.log"} <= names
    assert {"runs", "rlhf", "commands", "checkpoints", "heartbeat"} <= names
    assert any(".tmp" in name for name in names) and any(name.endswith(".arrow") for name in names)
    assert watcher.wide() == {}


def test_a_run_that_a_program_starts_is_private(tmp_path: Path, install: Callable[[str], None]) -> None:
    install("leaky")
    before = os.umask(0)
    os.environ["PLANTED"] = ""
    try:
        with Watcher(tmp_path / "made") as watcher:
            run = launch.create_run(tmp_path / "made" / "runs", plugin="leaky", config={})
            launch.start(run)
            verdict = launch.wait(run)
            time.sleep(0.1)
    finally:
        os.umask(before)
        del os.environ["PLANTED"]
    assert verdict is not None and verdict.exit_code == 3
    assert {"crash.json", "events.jsonl"} <= {path.name for path in RunDir(run.path).path.iterdir()}
    within = {path: mode for path, mode in watcher.wide().items() if path != str(tmp_path / "made")}
    assert within == {}
