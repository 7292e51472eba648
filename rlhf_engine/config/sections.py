"""Sections that several stages share: models, tokenizers, optimizers, numbers."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

HUANG = {"source": "Huang et al. 2024"}
STIENNON = {"source": "Stiennon et al. 2020"}
ZIEGLER = {"source": "Ziegler et al. 2019"}
AHMADIAN = {"source": "Ahmadian et al. 2024"}
LIVE = {"live": True}
"""May be changed while a run lives."""
COSTE = {"source": "Coste et al. 2024"}
SHAO = {"source": "Shao et al. 2024"}

Architecture = Literal["llama", "gpt_neox", "gpt2"]
Precision = Literal["float32", "bfloat16", "float16"]
ReleaseCache = Literal["auto", "never", "between_phases"]
ShardingLayout = Literal["ddp", "zero-1", "zero-2", "zero-3"]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every config: immutable, by keyword, no unknown keys."""


class InitConfig(Section, frozen=True, kw_only=True):
    """A model from scratch."""

    architecture: Annotated[Architecture, Meta(description="family of the transformer")] = "llama"
    hidden_size: Annotated[int, Meta(ge=8, description="width of the residual stream")] = 128
    layers: Annotated[int, Meta(ge=1, description="transformer blocks")] = 2
    heads: Annotated[int, Meta(ge=1, description="attention heads")] = 4
    kv_heads: Annotated[int, Meta(ge=0, description="key and value heads (llama); 0 means as many as heads")] = 0
    intermediate_size: Annotated[int, Meta(ge=0, description="width of the MLP; 0 means 4 x hidden_size")] = 0
    max_positions: Annotated[int, Meta(ge=8, description="longest sequence in tokens")] = 1024
    tie_embeddings: Annotated[bool, Meta(description="share input and output embeddings")] = True
    initializer_range: Annotated[float, Meta(gt=0, description="standard deviation of initial weights")] = 0.02


class ModelConfig(Section, frozen=True, kw_only=True):
    """Where a model's weights come from: `path`, or else `init`."""

    path: Annotated[
        str, Meta(description="directory, hub id, or run:ID of a finished run; empty means from scratch by `init`")
    ] = ""
    revision: Annotated[str, Meta(description="hub revision; empty means the default branch")] = ""
    init: Annotated[InitConfig, Meta(description="sizes of a model from scratch; read where `path` is empty")] = (
        InitConfig()
    )
    gradient_checkpointing: Annotated[
        bool, Meta(description="recompute activations in the backward pass: less memory, about a third more time")
    ] = False
    attention: Annotated[
        Literal["sdpa", "eager"], Meta(description="attention implementation (transformers' names)")
    ] = "sdpa"


class TokenizerConfig(Section, frozen=True, kw_only=True):
    """Where the tokenizer comes from: `path`, else the model's own directory, else trained on the data."""

    path: Annotated[str, Meta(description="directory or hub id; empty means the model's own, or trained")] = ""
    train_vocab_size: Annotated[
        int, Meta(ge=0, description="byte-level BPE of at most this size, trained on the stage's data; 0 means none")
    ] = 0
    word_level_split: Annotated[
        bool, Meta(description="split on blanks only when training: about one token a word on simple text")
    ] = False
    eos_token: Annotated[str, Meta(description="end of response; empty means the tokenizer's own")] = ""
    pad_token: Annotated[
        str, Meta(description="must differ from the end token; added without resizing embeddings", extra=HUANG)
    ] = "[PAD]"


class OptimizerConfig(Section, frozen=True, kw_only=True):
    """AdamW and its learning-rate schedule."""

    lr: Annotated[float, Meta(ge=0, description="peak learning rate", extra=HUANG | LIVE)] = 3e-6
    betas: Annotated[tuple[float, float], Meta(description="Adam's decay rates")] = (0.9, 0.999)
    eps: Annotated[float, Meta(gt=0, description="Adam's epsilon", extra=HUANG)] = 1e-5
    weight_decay: Annotated[float, Meta(ge=0, description="decoupled weight decay")] = 0.0
    schedule: Annotated[Literal["constant", "linear", "cosine"], Meta(description="shape after warm-up")] = "cosine"
    final_lr_share: Annotated[float, Meta(ge=0, le=1, description="learning rate at the end, as a share of lr")] = 0.0
    warmup_share: Annotated[float, Meta(ge=0, lt=1, description="share of the steps with rising learning rate")] = 0.0
    max_grad_norm: Annotated[
        float, Meta(ge=0, description="clip the gradient's norm; 0 means never", extra=HUANG | LIVE)
    ] = 0.0


class PrecisionConfig(Section, frozen=True, kw_only=True):
    """Numbers: weights stay float32; `bfloat16` runs the forward and backward in bf16 with fp32 log-probabilities."""

    compute: Annotated[Precision, Meta(description="dtype of matrix products")] = "float32"
    allow_float16: Annotated[
        bool,
        Meta(description="float16 overflows at a log ratio of 11.09 and has no loss scaling here: refused without"),
    ] = False


class ShardingConfig(Section, frozen=True, kw_only=True):
    """What each rank of a run keeps of the models; anything but ddp needs several ranks."""

    model: Annotated[
        ShardingLayout,
        Meta(
            description="what is trained: whole on each rank (ddp), moments sharded (zero-1), gradients too (zero-2), "
            "weights too (zero-3)"
        ),
    ] = "ddp"
    offload: Annotated[
        bool, Meta(description="sharded weights of frozen models lie in the host's memory (zero-3, GPU)")
    ] = False
    gather_dtype: Annotated[
        Literal["float32", "bfloat16"],
        Meta(description="sharded weights are gathered in this; bfloat16 needs precision.compute = bfloat16"),
    ] = "float32"


class TrainerConfig(Section, frozen=True, kw_only=True):
    """What every training stage has."""

    model: Annotated[ModelConfig, Meta(description="the model that is trained")] = ModelConfig()
    tokenizer: Annotated[TokenizerConfig, Meta(description="the tokenizer")] = TokenizerConfig()
    optimizer: Annotated[OptimizerConfig, Meta(description="AdamW and schedule")] = OptimizerConfig()
    precision: Annotated[PrecisionConfig, Meta(description="numbers")] = PrecisionConfig()
    sharding: Annotated[ShardingConfig, Meta(description="layout over the ranks of a run")] = ShardingConfig()
    device: Annotated[str, Meta(description="auto, cpu, cuda or cuda:N")] = "auto"
    seed: Annotated[int, Meta(ge=0, description="seed of everything random")] = 0
    threads: Annotated[int, Meta(ge=0, description="CPU threads; 0 means torch's choice")] = 0
    deterministic: Annotated[
        bool, Meta(description="only operations that give the same bits each time: exact resume on a GPU, slower")
    ] = False
    memory_budget_gib: Annotated[
        float, Meta(ge=0, description="GiB that a step may use on the device, beyond which it is out of memory; 0: all")
    ] = 0.0
    release_cache: Annotated[
        ReleaseCache, Meta(description="give memory that torch keeps unused back to the GPU; auto: where it is short")
    ] = "auto"
    checkpoint_every: Annotated[
        int, Meta(ge=0, description="checkpoint every so many steps; 0 means at the end", extra=LIVE)
    ] = 0
    keep_checkpoints: Annotated[
        int, Meta(ge=1, description="how many of the newest checkpoints are kept", extra=LIVE)
    ] = 2
    keep_every: Annotated[
        int, Meta(ge=0, description="checkpoints of every so many steps are kept too; 0 means none", extra=LIVE)
    ] = 0
    keep_best: Annotated[
        str, Meta(description="the best checkpoint by this metric is kept too; empty means none", extra=LIVE)
    ] = ""
    best_is: Annotated[
        Literal["highest", "lowest"], Meta(description="which value of `keep_best` is the best", extra=LIVE)
    ] = "highest"
