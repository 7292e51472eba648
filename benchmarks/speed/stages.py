"""What is compared with what: the stages, their contenders and targets. Torch-free."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from benchmarks.speed.peers import TRL, TRL_PPO
from rlhf_engine.config import Precision

BF16 = {"ACCELERATE_MIXED_PRECISION": "bf16"}
TIME, WALL, MEMORY, MEMORY_ABOVE = "cpu_seconds", "wall_seconds", "peak_mib", "peak_above_rest_mib"


Lengths = Literal["full", "tldr", "ends"]
"""Of rows: all alike; those of TL;DR; prompts alike and responses that end as TL;DR's do."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """By model, the least ratio: what the peer needs over what we need."""

    ratios: dict[str, float]
    of: str = TIME


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """`work`: module:function here; `against`: whose figures ours are held to; `models`: that it is for, none: all."""

    name: str
    work: str
    peer: str = ""
    against: str = ""
    precision: Precision = "float32"
    settings: dict[str, Any] = {}
    environment: dict[str, str] = {}
    targets: list[Target] = []
    models: list[str] = []


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
    lengths: Lengths = "full"

    def contenders_on(self, model: str) -> list[Contender]:
        return [contender for contender in self.contenders if not contender.models or model in contender.models]


CPU_MODELS, GPU_MODELS = ["tiny", "70m", "160m"], ["llama-1b", "pythia-1b"]
MODELS = [*CPU_MODELS, *GPU_MODELS]
GPU_ROUNDS = dict.fromkeys(GPU_MODELS, 2)
SUPERVISED_ROUNDS = {"tiny": 7, "70m": 3, "160m": 3} | GPU_ROUNDS


MOST_ROWS_ON_CPU = 64
BF16_NAME = ", bf16"
STOPS_AT_EOS = {"stop_token": "eos"}
TRUNK = "trunk"


def _supervised(name: str, title: str, **ratios: float) -> Stage:
    ours = Contender(
        name="own",
        work=f"own:{name}",
        against="TRL",
        targets=[Target(ratios={"70m": ratios["m70"], "tiny": ratios["tiny"]})],
        models=CPU_MODELS,
    )
    peer = Contender(name="TRL", work=f"peer_training:{name}", peer=TRL, models=CPU_MODELS)
    return Stage(
        name=name,
        title=title,
        contenders=[peer, ours, _in_bf16(peer), _in_bf16(ours)],
        models=MODELS,
        rounds=SUPERVISED_ROUNDS,
        same={"loss": 2e-4},
    )


def _in_bf16(contender: Contender) -> Contender:
    """On a GPU, where fp32 is nobody's choice."""
    return msgspec.structs.replace(
        contender,
        name=contender.name + BF16_NAME,
        against=contender.against and contender.against + BF16_NAME,
        precision="bfloat16",
        models=GPU_MODELS,
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
    peer = Contender(name="HF", work="peer_generate:generation", models=CPU_MODELS)
    rough_peer = msgspec.structs.replace(peer, name="HF" + BF16_NAME, precision="bfloat16", against="HF", models=[])
    least = Target(ratios={"tiny": 1.8, "70m": 1.8})
    ours = Contender(name="own", work="own:generation", against="HF", targets=[least], models=CPU_MODELS)
    least_rough = Target(ratios={"tiny": 4.0, "70m": 4.0} if rows == MOST_ROWS_ON_CPU else {})
    rough = msgspec.structs.replace(ours, name="own" + BF16_NAME, precision="bfloat16", targets=[least_rough])
    on_gpu = _in_bf16(msgspec.structs.replace(ours, targets=[Target(ratios=dict.fromkeys(GPU_MODELS, 5.0))]))
    return Stage(
        name=f"generation-{rows}",
        title=f"generation, batch {rows}",
        contenders=[peer, ours, rough_peer, rough, on_gpu],
        models=GPU_MODELS if rows > MOST_ROWS_ON_CPU else MODELS,
        rows=rows,
        rounds={"tiny": 4, "70m": 2, "160m": 2} | GPU_ROUNDS,
        same={"tokens": 0.02},
    )


OTHER_SAMPLES = 0.3
"""Mean lengths of 64 rows differ by a tenth (one standard deviation), where they end at random."""
ONE_ROW_CUT = 0.05
"""TRL leaves out of its entropy what follows a sampled padding token, which any token of random weights may be: half of
one row in 16 is 3 %."""
SHARED = {"layout": "shared_trunk"}
PPO_PEER = Contender(name="TRL", work="peer_ppo:ppo", peer=TRL_PPO)
PPO_PEER_BF16 = msgspec.structs.replace(PPO_PEER, name="TRL" + BF16_NAME, precision="bfloat16", environment=BF16)


def _ppo(name: str, against: str, *targets: Target, **more: Any) -> Contender:
    return Contender(name=name, work="own:ppo", against=against, targets=list(targets), **more)


PPO = Stage(
    name="ppo",
    title="PPO iteration",
    contenders=[
        PPO_PEER,
        _ppo("own", "TRL", Target(ratios={"tiny": 1.35, "70m": 1.6}), Target(of=MEMORY, ratios={"70m": 1 / 0.8})),
        _ppo(
            "own, shared trunk",
            "TRL",
            Target(ratios={"tiny": 2.3, "70m": 2.3}),
            Target(of=MEMORY, ratios={"70m": 1 / 0.6}),
            settings=SHARED,
        ),
        _ppo(
            "own, shared trunk, bf16",
            "TRL",
            Target(ratios={"tiny": 2.8, "70m": 3.8}),
            precision="bfloat16",
            settings=SHARED,
        ),
    ],
    models=CPU_MODELS,
    rounds={"tiny": 3, "70m": 2, "160m": 1},
    warm_up=0,
    same={"entropy": ONE_ROW_CUT},
)

PPO_BF16 = Stage(
    name="ppo-bf16",
    title="PPO iteration, both in bf16",
    contenders=[
        PPO_PEER_BF16,
        _ppo("own, bf16", "TRL, bf16", Target(ratios={"tiny": 1.5, "70m": 2.0}), precision="bfloat16"),
        _ppo("own, shared trunk, bf16", "TRL, bf16", precision="bfloat16", settings=SHARED, models=GPU_MODELS),
    ],
    models=MODELS,
    rounds={"tiny": 2, "70m": 1, "160m": 1} | GPU_ROUNDS,
    warm_up=0,
    same={"entropy": ONE_ROW_CUT},
)

PPO_TLDR = Stage(
    name="ppo-tldr",
    title="PPO iteration, TL;DR's lengths",
    contenders=[
        msgspec.structs.replace(PPO_PEER, settings=STOPS_AT_EOS, models=CPU_MODELS),
        msgspec.structs.replace(PPO_PEER_BF16, settings=STOPS_AT_EOS, models=GPU_MODELS),
        _ppo("own", "TRL", Target(ratios={"tiny": 2.5, "70m": 2.5}), models=CPU_MODELS),
        _ppo("own, shared trunk", "TRL", Target(ratios={"tiny": 4.0, "70m": 4.0}), settings=SHARED, models=CPU_MODELS),
        _ppo("own, bf16", "TRL, bf16", precision="bfloat16", models=GPU_MODELS),
        _ppo("own, shared trunk, bf16", "TRL, bf16", precision="bfloat16", settings=SHARED, models=GPU_MODELS),
    ],
    models=MODELS,
    rounds={"tiny": 2, "70m": 1, "160m": 1} | GPU_ROUNDS,
    warm_up=0,
    lengths="tldr",
)


def _generation_that_ends(rows: int) -> Stage:
    """Finished rows are dropped here, and padded on by the peer."""
    full = _generation(rows)
    contenders = [msgspec.structs.replace(one, targets=[]) for one in full.contenders]
    return msgspec.structs.replace(
        full,
        name=f"{full.name}-ends",
        title=f"{full.title}, responses that end",
        contenders=contenders,
        lengths="ends",
        same={"tokens": OTHER_SAMPLES},
    )


RLOO = Stage(
    name="rloo",
    title="RLOO update, 4 responses to a prompt",
    contenders=[
        Contender(name="a prompt for each", work="own:rloo_apart"),
        Contender(name="own", work="own:rloo", against="a prompt for each"),
    ],
    models=MODELS,
    rounds={"tiny": 3, "70m": 2, "160m": 1} | GPU_ROUNDS,
    same={"entropy": 1e-3},
)


def _trunk() -> Stage:
    """What attention and torch.compile give; the first turn, which does not count, has the compiling in it."""
    contenders = [
        Contender(name="eager", work="trunk:padded", settings={"attention": "eager"}, models=CPU_MODELS),
        Contender(name="sdpa", work="trunk:padded", models=CPU_MODELS),
        Contender(name="sdpa, compiled", work="trunk:padded", settings={"compiled": True}, models=CPU_MODELS),
        Contender(name="own", work="trunk:packed", against="sdpa", models=CPU_MODELS),
    ]
    compiled = Contender(name="own, compiled", work="trunk:packed", against="sdpa", settings={"compiled": True})
    return Stage(
        name=TRUNK,
        title="forward and backward of the trunk",
        contenders=[*contenders, *map(_in_bf16, [*contenders, compiled])],
        models=MODELS,
        rows=8,
        rounds={"tiny": 5, "70m": 3, "160m": 2} | GPU_ROUNDS,
        same={"states": 1e-4},
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
        rounds={"tiny": 5, "70m": 2, "160m": 2} | GPU_ROUNDS,
        same={"loss": 1e-5},
    )


STAGES = {
    stage.name: stage
    for stage in (
        _supervised("sft", "SFT", tiny=1.7, m70=2.7),
        _supervised("rm", "reward model", tiny=1.5, m70=1.5),
        _supervised("dpo", "DPO", tiny=2.3, m70=3.3),
        PPO,
        PPO_BF16,
        PPO_TLDR,
        RLOO,
        _trunk(),
        _generation(8),
        _generation(64),
        _generation(512),
        _generation_that_ends(64),
        _logprobs(8),
        _logprobs(32),
        _checkpoints("saving", "checkpoint saved (SFT)"),
        _checkpoints("loading", "checkpoint loaded (SFT)"),
    )
}
