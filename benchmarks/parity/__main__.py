"""`python -m benchmarks.parity [--seed N ...] [--runs DIR]`: exit 1 if anything is outside its tolerance."""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.parity.demo_world import Demo, demo_parity, finished_demo, peer_settings
from benchmarks.parity.torchs_own import gae_parity
from benchmarks.parity.update import Row, update_parity
from benchmarks.record import record
from rlhf_engine.config import PPOConfig
from rlhf_engine.data.api import load_prompts
from rlhf_engine.data.tokenizers import load_tokenizer
from rlhf_engine.hooks import NoHooks
from rlhf_sdk.config_errors import convert_config


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.parity", description=__doc__)
    parser.add_argument("--seed", type=int, nargs="*", default=[71], help="seeds of the demo")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the demos are, or will be")
    arguments = parser.parse_args()
    rows: list[Row] = gae_parity()
    demos: dict[str, Any] = {}
    for seed in arguments.seed:
        demo = finished_demo(arguments.runs, seed)
        tokenizer, prompts = inputs_of(demo)
        with tempfile.TemporaryDirectory() as folder:
            if not demos:
                rows += update_of(demo, prompts, tokenizer, Path(folder))
                print_rows(rows)
            demos[str(seed)] = demo_parity(demo, prompts, tokenizer, Path(folder))
        print(f"seed {seed}: TRL less ours, gold: {demos[str(seed)]['trl_less_ours_gold']}")
    record("parity", {"update": [asdict(row) for row in rows], "demo": demos})
    return 0 if all(row.agrees for row in rows) else 1


def inputs_of(demo: Demo) -> tuple[Any, list[list[int]]]:
    """The tokenizer and the prompts that the demo's PPO had."""
    config = convert_config(demo.stage("ppo").record().config, PPOConfig)
    tokenizer = load_tokenizer(config.tokenizer, str(demo.model("sft")), tuple)
    tokenizer.padding_side = "left"
    prompts = load_prompts(config.data, tokenizer, hooks=NoHooks())
    return tokenizer, [prompt.tokens for prompt in prompts]


def update_of(demo: Demo, prompts: list[list[int]], tokenizer: Any, folder: Path) -> list[Row]:
    settings = peer_settings(demo, total_episodes=2 * peer_settings(demo).batch_size)
    models = {"policy": demo.model("sft"), "reward_model": demo.model("rm")}
    return update_parity(settings, prompts, tokenizer, **models, output=folder / "update")


def print_rows(rows: list[Row]) -> None:
    """A Markdown table, as docs/parity.md has it."""
    print("| quantity | largest difference | tolerance | named choice |\n| --- | --- | --- | --- |")
    for row in rows:
        mark = "" if row.agrees else " **outside**"
        print(f"| {row.quantity} | {row.difference:.1e}{mark} | {row.tolerance:.0e} | {row.choice} |")


if __name__ == "__main__":
    sys.exit(main())
