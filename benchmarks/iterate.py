"""One round of labels and PPO against two of half the size each: equal labels, equal episodes, on the built-in world.

All seeds share one SFT policy (the demo's), and the arms of a seed its first reward model. "one round" labels pairs of
the SFT policy; "two rounds" labels half as many of them, and then as many of the policy of the first round.

$RLHF_RUNS: a folder to work in, which is kept; an SFT policy that is there is used again.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import record
from rlhf_console.iterating import iterate_request
from rlhf_plugins.pipeline import StageConfig
from rlhf_plugins.pipeline.links import linked_config
from rlhf_sdk.events import Result
from rlhf_sdk.launch import create_run
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_root import ENVIRONMENT, list_runs, run_root
from rlhf_sdk.worker import Worker

SEEDS = (91, 92, 93, 94, 95)
SFT_SEED = 1
LABELS = 400
EPISODES = 640
PROMPTS = 250
RESAMPLES = 10_000
SIDE_BY_SIDE = 3
PROFILE = "demo-iterate"
SFT, ONE, TWO = "sft", "one round", "two rounds"
ARMS = (ONE, TWO)
SETTINGS = ("rm.data.max_rows=300", "ppo.kl_coef=0.05", "ppo.optimizer.lr=4e-4", "ppo.optimizer.warmup_share=0.2")
"""What differs from the profile: a first reward model of fewer labels, and a policy that goes further on it."""


@dataclass
class Cell:
    """The runs of one seed, each by its worker in this process: what starting one costs is not what is compared."""

    root: Path
    seed: int
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, name: str, stage: StageConfig, runs: Mapping[str, str]) -> RunDir:
        """Does a stage whose links stand for `runs`, to its end."""
        made = create_run(self.root, plugin=stage.plugin, config=linked_config(stage, runs), name=name)
        began = time.process_time()
        exit_code = Worker(made, attempt=1, since=time.time()).main()
        self.seconds[name] = time.process_time() - began
        if exit_code:
            raise SystemExit(f"{made.id} ended with {exit_code}: {made.final_words(1)}")
        return made

    def stages(self, rounds: int) -> dict[str, StageConfig]:
        """Of `rlhf iterate`, with the labels and the episodes divided over the rounds."""
        asked = {"pairs": LABELS // rounds, "prompts": 2 * LABELS // rounds}
        settings = [*SETTINGS, f"ppo.total_episodes={EPISODES // rounds}"]
        request = iterate_request(PROFILE, rounds, asked, settings, [], self.seed, self.root)
        return {name: StageConfig(**stage) for name, stage in request.config["stages"].items()}

    def arm(self, name: str, stages: Mapping[str, StageConfig], runs: Mapping[str, str]) -> dict[str, str]:
        """The runs of all stages but the evaluation; those in `runs` are done."""
        done = dict(runs)
        for stage, config in stages.items():
            if stage not in done and config.plugin != "eval":
                done[stage] = self.run(f"{name.replace(' ', '-')}.{stage}", config, done).id
        return done


def result_of(run: RunDir, name: str) -> dict[str, Any]:
    """What the run reported by that name."""
    return next(event.data for event in run.events() if isinstance(event, Result) and event.name == name)


def one_seed(root: Path, seed: int, sft: str) -> dict[str, Any]:
    """Gold of every arm's responses to the same prompts, and what its reward model is worth on its own policy."""
    cell = Cell(root, seed)
    one, two = cell.stages(1), cell.stages(2)
    shared = cell.arm("shared", {"rm": one["rm"]}, {"sft": sft})
    done = {
        ONE: cell.arm(ONE, one, shared),
        TWO: cell.arm(TWO, two, shared),
    }
    last = {ONE: ("ppo_1", "rm_1"), TWO: ("ppo_2", "rm_2")}
    policies = {arm: done[arm][last[arm][0]] for arm in ARMS}
    return {
        "seed": seed,
        "first_reward_model": result_of(RunDir(root / shared["rm"]), "reward_model"),
        "gold": gold_of(cell, one["eval"], {SFT: shared["sft"]} | policies),
        "accuracy_on_own_samples": {
            arm: own_accuracy(cell, arm, one["pairs_1"], done[arm][last[arm][0]], done[arm][last[arm][1]])
            for arm in ARMS
        },
        "first_round_accuracy_on_its_policy": result_of(RunDir(root / done[TWO]["pairs_2"]), "labels"),
        "cpu_seconds": cell.seconds,
    }


def gold_of(cell: Cell, stage: StageConfig, policies: Mapping[str, str]) -> dict[str, list[float]]:
    """Gold of each policy's sample to each prompt, in the order of the prompts."""
    names = {name.replace(" ", "_"): f"run:{run}" for name, run in policies.items()}
    data = {**stage.config["data"], "max_rows": PROMPTS}
    config = {**stage.config, "policies": names, "reward_model": "", "data": data}
    run = cell.run("eval", StageConfig(plugin="eval", config=config), {})
    found: dict[str, dict[int, float]] = {name: {} for name in policies}
    for sample in run.samples():
        name = sample.tag.removeprefix("eval/").rpartition("/")[0].replace("_", " ")
        found[name][sample.index] = sample.metrics["gold"]
    return {name: [golds[row] for row in sorted(golds)] for name, golds in found.items()}


def own_accuracy(cell: Cell, arm: str, stage: StageConfig, policy: str, reward_model: str) -> float:
    """How often the arm's last reward model orders two samples of its own policy as gold does, on new posts."""
    models = {"model": {"path": f"run:{policy}"}, "reward_model": {"path": f"run:{reward_model}"}}
    data = {**stage.config["data"], "world_seed": 122, "max_rows": PROMPTS}
    config = {**stage.config, **models, "data": data, "prompts": PROMPTS, "pairs": PROMPTS, "choose": "random"}
    found = cell.run(f"accuracy.{arm.replace(' ', '-')}", StageConfig(plugin="pairs", config=config), {})
    return float(result_of(found, "labels")["accuracy/gold"])


def credits(own: list[float], other: list[float]) -> np.ndarray[Any, Any]:
    """1 where gold prefers one's own, one half for a tie, [prompts]."""
    ours, theirs = np.array(own), np.array(other)
    credit: np.ndarray[Any, Any] = (ours > theirs) + 0.5 * (ours == theirs)
    return credit


def interval(values: np.ndarray[Any, Any]) -> list[float]:
    """Mean and 95 % interval of values [seeds, prompts]: seeds and prompts are both drawn anew."""
    rng = np.random.default_rng(0)
    seeds, prompts = values.shape
    means = [
        values[rng.integers(seeds, size=seeds)[:, None], rng.integers(prompts, size=prompts)[None, :]].mean()
        for _ in range(RESAMPLES)
    ]
    return [float(values.mean()), *(float(edge) for edge in np.percentile(means, [2.5, 97.5]))]


def summary(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Means with intervals over seeds and prompts, paired: every arm answers the same prompts with the same noise."""
    against_sft = {arm: np.stack([credits(cell["gold"][arm], cell["gold"][SFT]) for cell in cells]) for arm in ARMS}
    heads_up = np.stack([credits(cell["gold"][TWO], cell["gold"][ONE]) for cell in cells])
    return {
        "win_rate_against_sft": {arm: interval(values) for arm, values in against_sft.items()},
        "two_rounds_less_one": interval(against_sft[TWO] - against_sft[ONE]),
        "two_rounds_against_one": interval(heads_up),
        "gold_mean": {arm: interval(np.stack([cell["gold"][arm] for cell in cells])) for arm in (SFT, *ARMS)},
        "accuracy_on_own_samples": {
            arm: float(np.mean([cell["accuracy_on_own_samples"][arm] for cell in cells])) for arm in ARMS
        },
    }


def sft_policy(root: Path) -> str:
    """The run that trains it, or has trained it."""
    there = [run.id for run in list_runs(root) if run.record().plugin == "sft"]
    cell = Cell(root, SFT_SEED)
    return there[0] if there else cell.run("sft", cell.stages(1)["sft"], {}).id


def measure(root: Path, seeds: Sequence[int]) -> None:
    """Seeds side by side, for CPU seconds are what is told; what is there is recorded after each."""
    cells: list[dict[str, Any]] = []
    settings = {"labels": LABELS, "episodes": EPISODES, "prompts": PROMPTS, "settings": list(SETTINGS)}
    sft = sft_policy(root)
    with ProcessPoolExecutor(SIDE_BY_SIDE, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(one_seed, root, seed, sft) for seed in seeds]):
            cells.append(done.result())
            print(f"seed {cells[-1]['seed']}: {sum(cells[-1]['cpu_seconds'].values()):.0f} CPU s; {summary(cells)}")
            record("iterate", settings | {"summary": summary(cells), "seeds": cells})


def main() -> None:
    if ENVIRONMENT in os.environ:
        measure(run_root(), SEEDS)
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ[ENVIRONMENT] = folder
        measure(Path(folder), SEEDS)
