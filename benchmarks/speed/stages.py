"""What is compared with what: the stages, their contenders and targets. Torch-free."""

from __future__ import annotations

from typing import Any

import msgspec

from benchmarks.speed.peers import TRL, TRL_PPO
from rlhf_engine.config import Precision

BF16 = {"ACCELERATE_MIXED_PRECISION": "bf16"}
TIME, WALL, MEMORY, MEMORY_ABOVE = "cpu_seconds", "wall_seconds", "peak_mib", "peak_above_rest_mib"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """By model, the least ratio: what the peer needs over what we need."""

    ratios: dict[str, float]
    of: str = TIME


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """`work`: module:function here; `against`: whose figures ours are held to."""

    name: str
    work: str
    peer: str = ""
    against: str = ""
    precision: Precision = "float32"
    settings: dict[str, Any] = {}
    environment: dict[str, str] = {}
    targets: list[Target] = []


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """`rows`: of a step, 0: the model's own; `rounds`: those that count, by model.

    `same`: figures of the first turns that must agree, with their relative tolerance: both sides do the same work.
    """

    name: str
    title: str
    contenders: list[Contender]
    models: list[str]
    rows: int = 0
    rounds: dict[str, int]
    warm_up: int = 1
    same: dict[str, float] = {}
    tldr_lengths: bool = False

    @property
    def names(self) -> list[str]:
        return [contender.name for contender in self.contenders]


CPU_MODELS, GPU_MODELS = ["tiny", "70m", "160m"], ["llama-1b", "pythia-1b"]
MODELS = [*CPU_MODELS, *GPU_MODELS]
GPU_ROUNDS = dict.fromkeys(GPU_MODELS, 2)
SUPERVISED_ROUNDS = {"tiny": 7, "70m": 5, "160m": 3} | GPU_ROUNDS


MOST_ROWS_ON_CPU = 64


def _supervised(name: str, title: str, **ratios: float) -> Stage:
    ours = Contender(
        name="own",
        work=f"own:{name}",
        against="TRL",
        targets=[Target(ratios={"70m": ratios["m70"], "tiny": ratios["tiny"]})],
    )
    peer = Contender(name="TRL", work=f"peer_training:{name}", peer=TRL)
    return Stage(
        name=name,
        title=title,
        contenders=[peer, ours],
        models=MODELS,
        rounds=SUPERVISED_ROUNDS,
        same={"loss": 2e-4},
    )


def _checkpoints(name: str, title: str) -> Stage:
    return Stage(
        name=name,
        title=title,
        contenders=[
            Contender(name="TRL", work=f"peer_training:{name}", peer=TRL),
            Contender(name="own", work=f"own:{name}", against="TRL"),
        ],
        models=MODELS,
        rounds=SUPERVISED_ROUNDS,
    )


def _generation(rows: int) -> Stage:
    peer = Contender(name="HF", work="peer_generate:generation")
    rough_peer = Contender(name="HF bf16", work="peer_generate:generation", precision="bfloat16", against="HF")
    least = [Target(ratios={"tiny": 1.8, "70m": 1.8})]
    rough_ratios = dict.fromkeys(GPU_MODELS, 5.0) | ({"tiny": 4.0, "70m": 4.0} if rows == 64 else {})
    least_rough = [Target(ratios=rough_ratios)]
    ours = Contender(name="own", work="own:generation", against="HF", targets=least)
    rough = Contender(name="own bf16", work="own:generation", precision="bfloat16", against="HF", targets=least_rough)
    return Stage(
        name=f"generation-{rows}",
        title=f"generation, batch {rows}",
        contenders=[peer, ours, rough_peer, rough],
        models=GPU_MODELS if rows > MOST_ROWS_ON_CPU else MODELS,
        rows=rows,
        rounds={"tiny": 4, "70m": 3, "160m": 2} | GPU_ROUNDS,
        same={"tokens": 0.02},
    )


PPO = Stage(
    name="ppo",
    title="PPO iteration",
    contenders=[
        Contender(name="TRL", work="peer_ppo:ppo", peer=TRL_PPO),
        Contender(
            name="own",
            work="own:ppo",
            against="TRL",
            targets=[Target(ratios={"tiny": 1.35, "70m": 1.6}), Target(of=MEMORY, ratios={"70m": 1 / 0.8})],
        ),
        Contender(
            name="own, shared trunk",
            work="own:ppo",
            against="TRL",
            settings={"layout": "shared_trunk"},
            targets=[Target(ratios={"tiny": 2.3, "70m": 2.3}), Target(of=MEMORY, ratios={"70m": 1 / 0.6})],
        ),
        Contender(
            name="own, shared trunk, bf16",
            work="own:ppo",
            against="TRL",
            precision="bfloat16",
            settings={"layout": "shared_trunk"},
            targets=[Target(ratios={"tiny": 2.8, "70m": 3.8})],
        ),
        Contender(name="TRL, bf16", work="peer_ppo:ppo", peer=TRL_PPO, precision="bfloat16", environment=BF16),
        Contender(
            name="own, bf16",
            work="own:ppo",
            against="TRL, bf16",
            precision="bfloat16",
            targets=[Target(ratios={"tiny": 1.5, "70m": 2.0})],
        ),
    ],
    models=MODELS,
    rounds={"tiny": 3, "70m": 2, "160m": 1} | GPU_ROUNDS,
    warm_up=0,
    same={"entropy": 0.02},
)


PPO_TLDR = Stage(
    name="ppo-tldr",
    title="PPO iteration, TL;DR's lengths",
    contenders=[
        Contender(name="TRL", work="peer_ppo:ppo", peer=TRL_PPO, settings={"stop_token": "eos"}),
        Contender(name="own", work="own:ppo", against="TRL", targets=[Target(ratios={"tiny": 2.5, "70m": 2.5})]),
        Contender(
            name="own, shared trunk",
            work="own:ppo",
            against="TRL",
            settings={"layout": "shared_trunk"},
            targets=[Target(ratios={"tiny": 4.0, "70m": 4.0})],
        ),
    ],
    models=MODELS,
    rounds={"tiny": 2, "70m": 1, "160m": 1} | GPU_ROUNDS,
    warm_up=0,
    tldr_lengths=True,
)


def _logprobs(rows: int) -> Stage:
    ours = Contender(
        name="own",
        work="logprobs:own",
        against="full logits",
        targets=[Target(ratios={"70m": 2.8}), Target(of=MEMORY_ABOVE, ratios={"70m": 10.0} if rows == 32 else {})],
    )
    peer = Contender(name="full logits", work="logprobs:full_logits", peer=TRL_PPO)
    return Stage(
        name=f"logprobs-{rows}",
        title=f"log-probabilities, batch {rows}",
        contenders=[peer, ours],
        models=MODELS,
        rows=rows,
        rounds={"tiny": 5, "70m": 3, "160m": 2} | GPU_ROUNDS,
        same={"loss": 1e-5},
    )


STAGES = {
    stage.name: stage
    for stage in (
        _supervised("sft", "SFT", tiny=1.7, m70=2.7),
        _supervised("rm", "reward model", tiny=1.5, m70=1.5),
        _supervised("dpo", "DPO", tiny=2.3, m70=3.3),
        PPO,
        PPO_TLDR,
        _generation(8),
        _generation(64),
        _generation(512),
        _logprobs(8),
        _logprobs(32),
        _checkpoints("saving", "checkpoint saved (SFT)"),
        _checkpoints("loading", "checkpoint loaded (SFT)"),
    )
}
