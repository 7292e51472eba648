"""Whole runs in miniature, by the real worker in this process, and everything that they leave behind as one value."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook

from rlhf_engine.config import InitConfig, ModelConfig, TokenizerConfig
from rlhf_engine.data.formatting import format_prompt
from rlhf_engine.data.tokenizers import load_tokenizer
from rlhf_engine.data.world import demonstrations
from rlhf_engine.models import load_policy, save_model
from rlhf_engine.scalar_heads import HeadShape
from rlhf_engine.scalar_models import load_scalar_model
from rlhf_sdk.events import ChildRun, Event, MetricsLogged, Progress, encode_line
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import RunRecord, encode_record
from rlhf_sdk.worker import Worker
from rlhf_sdk.worker_control import Control
from rlhf_sdk.worker_run import WorkerRun

Config = dict[str, Any]
Fingerprint = dict[str, Any]

UNSTEADY = ("seq", "attempt", "time", "seconds", "memory", "unaccounted", "bytes", "run_id")
"""What differs between two equal runs."""
ECHOES = ("kl/coef", "optimizer/lr")
"""Metrics that repeat a setting: no proof that anything else reads it."""
UNSTEADY_FILES = ("MANIFEST.json", "worker.json", "torch.safetensors", "python.json")


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """A copy of `config` with the values at dotted keys replaced."""
    changed = deepcopy(config)
    for key, value in values.items():
        *sections, name = key.split(".")
        place = changed
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return changed


def new_run(directory: Path, plugin: str, config: Config) -> RunDir:
    """A run directory that has only its record, and the folder for commands."""
    run = RunDir(directory)
    run.commands.mkdir(parents=True)
    record = RunRecord(id=directory.name, plugin=plugin, config=config, seed=config.get("seed", 0), created=0.0)
    run.record_file.write_bytes(encode_record(record))
    return run


def finished_run(directory: Path, plugin: str, config: Config) -> Fingerprint:
    """Runs `plugin` to its end, good or bad, and says what there is to see of it afterwards."""
    run = new_run(directory, plugin, config)
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch, _safe_points(patch) as safe_points:
        patch.setattr(Control, "install_signal_handlers", lambda control: None)
        patch.setattr("os.fsync", lambda descriptor: None)
        patch.setattr("time.process_time", lambda: 0.0)
        forwards: list[None] = []
        counter = register_module_forward_hook(lambda *_: forwards.append(None))
        exit_code = Worker(run, attempt=1, since=time.time()).main()
        counter.remove()
        used_threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    return {
        "exit code": exit_code,
        "events": [_steady(event) for event in run.events() if not isinstance(event, Progress | ChildRun)],
        "children": [_steady(event) for child in _children(run) for event in child.events()],
        "samples": [_steady(sample) for sample in run.samples()],
        "files": _hashes(run.checkpoints) | _hashes(run.data),
        "safe points": 0 if _children(run) else len(safe_points),
        "forwards": len(forwards),
        "threads": used_threads,
        "deterministic": deterministic,
    }


@contextmanager
def _safe_points(patch: pytest.MonkeyPatch) -> Iterator[list[None]]:
    """Every place where the run could have been held or left: how finely work is cut shows here alone."""
    passed: list[None] = []
    real = WorkerRun.safe_point

    def counted(run: WorkerRun) -> None:
        passed.append(None)
        real(run)

    patch.setattr(WorkerRun, "safe_point", counted)
    yield passed


def _steady(event: msgspec.Struct) -> str:
    plain = msgspec.to_builtins(event)
    kept = {key: value for key, value in plain.items() if key not in UNSTEADY}
    if isinstance(event, MetricsLogged):
        kept["values"] = {k: v for k, v in event.values.items() if not k.startswith("throughput/") and k not in ECHOES}
    return json.dumps([type(event).__name__, kept], sort_keys=True)


def _hashes(folder: Path) -> dict[str, str]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file() and file.name not in UNSTEADY_FILES)
    return {str(file.relative_to(folder.parent)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _children(run: RunDir) -> list[RunDir]:
    return [RunDir(folder) for folder in sorted(run.root.glob(f"{run.id}.*"))]


def write_rows(file: Path, rows: list[Config]) -> str:
    """JSON lines; returns the file's name."""
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def write_curve(directory: Path, proxy: float) -> str:
    """The events of a PPO run with a constant proxy; returns the path of its model."""
    directory.mkdir()
    values = {"reward/score_mean": proxy, "kl/sequence_nats": 0.0}
    events: list[Event] = [MetricsLogged(values=values, seconds=1.0, step=step) for step in (1, 2)]
    (directory / "events.jsonl").write_bytes(b"".join(encode_line(event) for event in events))
    return str(directory / "checkpoints" / "step-00000002" / "model")


def world(seed: int, rows: int) -> Config:
    """A section of data from the built-in world."""
    limits = {"max_prompt_tokens": 160, "max_response_tokens": 10}
    return {"source": ["world"], "world_seed": seed, "max_rows": rows} | limits


INIT = InitConfig(hidden_size=16, layers=1, heads=2, max_positions=256, initializer_range=0.3)


def build_models(folder: Path) -> dict[str, str]:
    """Paths of a policy and another, a reward model, another and one of two heads, and a tokenizer that none has."""
    rows = list(demonstrations(60, seed=0))
    texts = [f"{format_prompt(row, 'tldr')} {row['summary']}" for row in rows]
    sizes = {"tokenizer": 380, "policy": 400}
    tokenizers = {
        name: load_tokenizer(TokenizerConfig(train_vocab_size=n), "", lambda: texts) for name, n in sizes.items()
    }
    tokenizers["tokenizer"].save_pretrained(folder / "tokenizer")
    config, cpu, tokenizer = ModelConfig(init=INIT), torch.device("cpu"), tokenizers["policy"]
    two_heads = partial(load_scalar_model, head_shape=HeadShape(count=2))
    loaders: dict[str, Callable[..., Any]] = {
        "policy": load_policy, "other_policy": load_policy, "reward_model": load_scalar_model,
        "other_reward_model": load_scalar_model, "ensemble": two_heads,
    }  # fmt: skip
    for seed, (name, load) in enumerate(loaders.items()):
        torch.manual_seed(seed)
        save_model(load(config, tokenizer, cpu), tokenizer, folder / name)
    return {name: str(folder / name) for name in ("tokenizer", *loaders)}
