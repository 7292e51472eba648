"""Every option of the engine: type, default, constraint, help and source. Torch-free.

One type is the single source for validation, `rlhf config`, the launch form and `run.json`. Defaults are those of
Huang et al. 2024 ("The N+ Implementation Details of RLHF with PPO", arXiv:2403.17031) where the paper has one.
"""

from rlhf_engine.config.data import COMPARISONS, CleaningConfig, ColumnConfig, DataConfig
from rlhf_engine.config.distillation import DistilConfig
from rlhf_engine.config.evaluation import EvalConfig
from rlhf_engine.config.judging import JudgeConfig
from rlhf_engine.config.lora import LoraConfig
from rlhf_engine.config.online import (
    CriticFreeConfig,
    GRPOConfig,
    OnlineConfig,
    PPOConfig,
    PPOShardingConfig,
    RLOOConfig,
)
from rlhf_engine.config.pairs import Choose, PairsConfig
from rlhf_engine.config.preferences import DPOConfig, IPOConfig, KTOConfig, PreferenceConfig
from rlhf_engine.config.probing import ProbeConfig
from rlhf_engine.config.sections import (
    AHMADIAN,
    HUANG,
    SHAO,
    STIENNON,
    ZIEGLER,
    Architecture,
    InitConfig,
    ModelConfig,
    OptimizerConfig,
    Precision,
    PrecisionConfig,
    ReleaseCache,
    Section,
    ShardingConfig,
    ShardingLayout,
    TokenizerConfig,
    TrainerConfig,
)
from rlhf_engine.config.supervised import (
    AnnotatorConfig,
    PretrainConfig,
    RMConfig,
    SFTConfig,
    WorldComparisonConfig,
)

__all__ = [
    "AHMADIAN",
    "COMPARISONS",
    "HUANG",
    "SHAO",
    "STIENNON",
    "ZIEGLER",
    "AnnotatorConfig",
    "Architecture",
    "Choose",
    "CleaningConfig",
    "ColumnConfig",
    "CriticFreeConfig",
    "DPOConfig",
    "DataConfig",
    "DistilConfig",
    "EvalConfig",
    "GRPOConfig",
    "IPOConfig",
    "InitConfig",
    "JudgeConfig",
    "KTOConfig",
    "LoraConfig",
    "ModelConfig",
    "OnlineConfig",
    "OptimizerConfig",
    "PPOConfig",
    "PPOShardingConfig",
    "PairsConfig",
    "Precision",
    "PrecisionConfig",
    "PreferenceConfig",
    "PretrainConfig",
    "ProbeConfig",
    "RLOOConfig",
    "RMConfig",
    "ReleaseCache",
    "SFTConfig",
    "Section",
    "ShardingConfig",
    "ShardingLayout",
    "TokenizerConfig",
    "TrainerConfig",
    "WorldComparisonConfig",
]
