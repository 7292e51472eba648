"""TRL's PPO on the demo world from the demo's own SFT policy and reward model, beside ours."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.parity.peer import PeerSettings, make_trainer
from rlhf_engine.eval.intervals import mean_interval
from rlhf_sdk.events import Result
from rlhf_sdk.run_dir import RunDir

RLHF = str(Path(sys.executable).with_name("rlhf"))


@dataclass(frozen=True)
class Demo:
    """A finished demo: the pipeline's run, and each stage's."""

    pipeline: RunDir

    def stage(self, name: str) -> RunDir:
        return RunDir(self.pipeline.root / f"{self.pipeline.id}.{name}")

    def model(self, stage: str) -> Path:
        """What the stage left behind."""
        return max(self.stage(stage).checkpoints.glob("step-*")) / "model"


def finished_demo(root: Path, seed: int) -> Demo:
    """The demo of `seed` in `root`, run now if it is not there; scores are read at the last token, as TRL has it."""
    found = sorted(root.glob(f"parity-{seed}-*.eval"))
    if not found:
        command = [RLHF, "run", "pipeline", "--profile", "demo", "--name", f"parity-{seed}"]
        subprocess.run([*command, "--seed", str(seed), "--set", "rm.pooling=last", "--runs", str(root)], check=True)
        found = sorted(root.glob(f"parity-{seed}-*.eval"))
    return Demo(RunDir(root / found[-1].name.removesuffix(".eval")))


def peer_settings(demo: Demo, *, total_episodes: int = 0) -> PeerSettings:
    """The demo's own PPO settings; 0 episodes means as many as it had."""
    config = demo.stage("ppo").record().config
    optimizer = config["optimizer"]
    return PeerSettings(
        batch_size=config["batch_size"],
        minibatches=config["minibatches"],
        ppo_epochs=config["ppo_epochs"],
        total_episodes=total_episodes or config["total_episodes"],
        response_tokens=config["response_tokens"],
        temperature=config["temperature"],
        kl_coef=config["kl_coef"],
        vf_coef=config["vf_coef"],
        clip_range=config["clip_range"],
        gamma=config["gamma"],
        gae_lambda=config["gae_lambda"],
        missing_eos_penalty=-config["missing_eos_value"],
        policy_lr=optimizer["lr"],
        value_lr=config["value_optimizer"]["lr"],
        final_lr_share=optimizer["final_lr_share"],
        seed=config["seed"],
    )


def demo_parity(demo: Demo, prompts: Sequence[list[int]], tokenizer: Any, folder: Path) -> dict[str, Any]:
    """Trains TRL's PPO and evaluates it beside ours on the demo's held-out posts."""
    trained = folder / "policy"
    trainer = make_trainer(
        peer_settings(demo),
        prompts,
        tokenizer,
        policy=demo.model("sft"),
        reward_model=demo.model("rm"),
        output=folder / "output",
    )
    began = time.process_time()
    trainer.train()
    seconds = time.process_time() - began
    trainer.model.policy.save_pretrained(trained)
    tokenizer.save_pretrained(trained)
    return evaluated(demo, trained, folder) | {"trl_training_cpu_seconds": seconds}


def evaluated(demo: Demo, trl_policy: Path, folder: Path) -> dict[str, Any]:
    """Figures of SFT, our PPO and TRL's at temperature 1, and the paired difference in gold."""
    policies = {"sft": str(demo.model("sft")), "ppo": str(demo.model("ppo")), "trl_ppo": str(trl_policy)}
    profile = folder / "eval.toml"
    lines = [f"{name} = {json.dumps(path)}" for name, path in policies.items()]
    settings = ["temperatures = [1.0]", f"reward_model = {json.dumps(str(demo.model('rm')))}"]
    text = ['summary = "parity"', 'extends = "demo"', "[eval]", *settings, "[eval.policies]", *lines]
    profile.write_text("\n".join(text) + "\n")
    command = [RLHF, "run", "eval", "--profile", str(profile), "--name", "parity", "--runs", str(folder / "runs")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (run,) = (RunDir(path) for path in (folder / "runs").glob("parity-*"))
    golds = gold_by_policy(run)
    differences = [theirs - ours for ours, theirs in zip(golds["ppo"], golds["trl_ppo"], strict=True)]
    gain = mean_interval(differences, [str(row) for row in range(len(differences))], resamples=2000, seed=0)
    (summary,) = (event.data["figures"] for event in run.events() if isinstance(event, Result))
    return {
        "figures": {name: value for name, value in summary.items() if name.startswith(tuple(policies))},
        "trl_less_ours_gold": asdict(gain),
    }


def gold_by_policy(run: RunDir) -> Mapping[str, list[float]]:
    """Gold of each held-out response, in the order of the posts."""
    found: dict[str, dict[int, float]] = {}
    for sample in run.samples():
        found.setdefault(sample.tag.split("/")[1], {})[sample.index] = sample.metrics["gold"]
    return {name: [values[row] for row in sorted(values)] for name, values in found.items()}
