"""What PPO of a 1B model writes in a day on one GPU: lines as a worker writes them, at the pace of a step's floor."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from benchmarks.record import record
from benchmarks.telemetry import PROFILE, demo_config, observed_step
from rlhf_console.gpus import GPUS
from rlhf_engine.config import PPOConfig
from rlhf_engine.known_models import KNOWN_MODELS
from rlhf_engine.time_floors import Rates, step_floors
from rlhf_sdk.events import Sample, encode_line
from rlhf_sdk.machine import Machine
from rlhf_sdk.machine_samples import DeviceSample, MachineSample
from rlhf_sdk.run_dir import RunDir

TLDR = PROFILE.with_name("tldr-pythia-1b.toml")
MODEL, GPU = "EleutherAI/pythia-1b", "H100"
SHARES = {"floor": 1.0, "at 45 % of the rates": 0.45}
STEPS, WARM_UP = 6, 2
DAY_SECONDS = 86_400
PROMPT_CHARACTERS, RESPONSE_CHARACTERS = 2200, 230
"""Of 512 and 53 tokens of English."""
WEIGHT_AND_MOMENTS = 12
"""Bytes."""


def main() -> None:
    config, shape = _config(), KNOWN_MODELS[MODEL.lower()]
    weights = shape.policy_parameters + shape.scalar_parameters
    with TemporaryDirectory() as folder:
        events, sample = _lines(Path(folder), config)
        machine = _machine_line(Path(folder))
    device = GPUS[GPU].device
    assert device.bfloat16_flops is not None and device.bandwidth is not None
    seconds = sum(step_floors(config, weights, Rates(device.bfloat16_flops, device.bandwidth)).values())
    step = {"events_bytes": events, "samples_bytes": sample * config.sample_count}
    figures = {
        "model": MODEL, "gpu": GPU, "batch_size": config.batch_size, "checkpoint_every": config.checkpoint_every,
        "step": step, "machine_line_bytes": machine, "checkpoint_bytes": WEIGHT_AND_MOMENTS * weights,
        "a day": {name: _day(seconds / share, step, machine, config, weights) for name, share in SHARES.items()},
    }  # fmt: skip
    print(msgspec.json.format(msgspec.json.encode(figures)).decode())
    record("scale-records", figures)


def _day(seconds: float, step: dict[str, float], machine: int, config: PPOConfig, weights: int) -> dict[str, float]:
    steps = DAY_SECONDS / seconds
    checkpoints = steps / config.checkpoint_every
    return {
        "step_seconds": seconds,
        "steps": steps,
        "events_mb": steps * step["events_bytes"] / 1e6,
        "samples_mb": steps * step["samples_bytes"] / 1e6,
        "machine_mb": DAY_SECONDS * machine / 1e6,
        "checkpoints": checkpoints,
        "checkpoints_written_gb": checkpoints * WEIGHT_AND_MOMENTS * weights / 1e9,
        "checkpoints_kept_gb": config.keep_checkpoints * WEIGHT_AND_MOMENTS * weights / 1e9,
    }


def _config() -> PPOConfig:
    """Of the profile's PPO stage, with the model by name in place of earlier stages."""
    profile = tomllib.loads(TLDR.read_text())
    values: dict[str, Any] = profile["common"] | profile["ppo"]
    values["optimizer"] = profile["common"]["optimizer"] | profile["ppo"]["optimizer"]
    return msgspec.convert(values | {"model": {"path": MODEL}, "reward_model": {"path": MODEL}}, PPOConfig)


def _lines(folder: Path, config: PPOConfig) -> tuple[float, int]:
    """Bytes of events a step, as a small run of PPO writes them, and of a sample as long as the real ones."""
    run = RunDir(folder / "run")
    step = observed_step(demo_config(folder), run)
    for _ in range(WARM_UP):
        step()
    before = run.events_file.stat().st_size
    for _ in range(STEPS):
        step()
    events = (run.events_file.stat().st_size - before) / STEPS
    *_, small = (sample for sample in run.samples() if sample.tag == "rollout")
    return events, len(encode_line(_as_long(small, config.response_tokens)))


def _as_long(sample: Sample, tokens: int) -> Sample:
    """The same figures for each token, at other lengths of text."""
    width = RESPONSE_CHARACTERS // tokens
    values = {name: [*known] * (tokens // len(known) + 1) for name, known in sample.token_values.items()}
    return msgspec.structs.replace(
        sample,
        prompt="x" * PROMPT_CHARACTERS,
        reference="x" * RESPONSE_CHARACTERS,
        response="x" * RESPONSE_CHARACTERS,
        token_ends=[width * place for place in range(1, tokens + 1)],
        token_values={name: known[:tokens] for name, known in values.items()},
    )


def _machine_line(folder: Path) -> int:
    moment = Machine(folder, os.getpid(), 1).sample()
    gpu = DeviceSample(
        index=0, name="NVIDIA H100 80GB HBM3", memory_used=70 << 30, memory_total=80 << 30, process=70 << 30,
        utilization=98, power_watts=612.345,
    )  # fmt: skip
    whole: MachineSample = msgspec.structs.replace(moment, devices=[gpu])
    return len(encode_line(whole))
