"""What a config says of ranks: one rank's share of the batch, and where each role lies. Torch-free."""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec

from rlhf_engine.config import OnlineConfig, PreferenceConfig, PretrainConfig, RMConfig, SFTConfig
from rlhf_engine.errors import ConfigError
from rlhf_engine.ranked_plan.placing import FLOAT32, Place
from rlhf_engine.sharding.choice import TRAINED, layout_of

Ranked = PretrainConfig | SFTConfig | RMConfig | PreferenceConfig | OnlineConfig
Config = TypeVar("Config", bound=Ranked)
Role = Literal["model", "value_model", "ref_model", "reward_model"]
BFLOAT16 = 2


def of_one_rank(config: Config, ranks: int) -> Config:
    """The config with one rank's share of the batch. Raises ConfigError where it can't be dealt evenly."""
    together = config.batch_size // config.minibatches if isinstance(config, OnlineConfig) else config.batch_size
    if together % ranks:
        what = "batch_size / minibatches" if isinstance(config, OnlineConfig) else "batch_size"
        raise ConfigError(
            f"{what}: {together} rows can't be dealt evenly to {ranks} ranks; choose a multiple of {ranks}"
        )
    return msgspec.structs.replace(config, batch_size=config.batch_size // ranks)


def place_of(config: Ranked, ranks: int, role: Role = "model") -> Place:
    """Where a role lies; a frozen one is whole on every rank unless it is zero-3."""
    sharding, layout = config.sharding, layout_of(config.sharding, role)
    return Place(
        ranks=ranks,
        layout=layout if ranks > 1 else "ddp",
        gather_bytes=BFLOAT16 if sharding.gather_dtype == "bfloat16" else FLOAT32,
        offload=sharding.offload and layout == "zero-3" and role not in TRAINED,
    )
