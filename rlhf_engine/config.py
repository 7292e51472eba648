"""Every option of the engine: type, default, constraint, help and source. Torch-free.

One type is the single source for validation, `rlhf config`, the launch form and `run.json`. Defaults are those of
Huang et al. 2024 ("The N+ Implementation Details of RLHF with PPO", arXiv:2403.17031) where the paper has one.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

HUANG = {"source": "Huang et al. 2024"}
STIENNON = {"source": "Stiennon et al. 2020"}
ZIEGLER = {"source": "Ziegler et al. 2019"}

Architecture = Literal["llama", "gpt_neox", "gpt2"]
Precision = Literal["float32", "bfloat16"]


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


class ColumnConfig(Section, frozen=True, kw_only=True):
    """Names of the columns in the data; the defaults are tried in order where a value is empty."""

    prompt: Annotated[str, Meta(description="the whole prompt, ready made")] = ""
    subreddit: Annotated[str, Meta(description="where a post was made, without r/")] = ""
    title: Annotated[str, Meta(description="title of a post")] = ""
    post: Annotated[str, Meta(description="body of a post")] = ""
    summary: Annotated[str, Meta(description="the response to learn, or the reference")] = ""
    chosen: Annotated[str, Meta(description="the preferred response, or the transcript that ends in it")] = ""
    rejected: Annotated[str, Meta(description="the other response, or the transcript that ends in it")] = ""
    text: Annotated[str, Meta(description="a document (pretrain)")] = ""
    id: Annotated[str, Meta(description="identifies a row in reports")] = ""


class CleaningConfig(Section, frozen=True, kw_only=True):
    """What is mended or left out before training; every count is recorded."""

    unicode: Annotated[bool, Meta(description="normalise to NFC, drop control characters")] = True
    whitespace: Annotated[bool, Meta(description="strip ends, at most two newlines in a row")] = True
    duplicates: Annotated[bool, Meta(description="keep the first of identical rows")] = True
    overlap: Annotated[
        bool, Meta(description="leave out rows whose post is in any of `exclude`, by normalised text")
    ] = True


class DataConfig(Section, frozen=True, kw_only=True):
    """One set of examples."""

    source: Annotated[
        list[str], Meta(description="world, hub ids (org/name or org/name:config), or files; several are joined")
    ] = []
    split: Annotated[str, Meta(description="split of a hub dataset")] = "train"
    exclude: Annotated[list[str], Meta(description="sources whose posts must not be in this set (evaluation)")] = []
    template: Annotated[
        Literal["tldr", "plain", "dialogue"],
        Meta(description="tldr: SUBREDDIT/TITLE/POST/TL;DR; plain: the prompt as it is; dialogue: Human/Assistant"),
    ] = "tldr"
    columns: Annotated[ColumnConfig, Meta(description="names of the columns; empty means the usual ones")] = (
        ColumnConfig()
    )
    cleaning: Annotated[CleaningConfig, Meta(description="what is mended or left out")] = CleaningConfig()
    max_rows: Annotated[int, Meta(ge=0, description="use at most this many rows; 0 means all")] = 0
    world_seed: Annotated[int, Meta(description="seed of the built-in world's posts; another seed, other posts")] = 0
    max_prompt_tokens: Annotated[
        int, Meta(ge=8, description="longer posts are cut at their last newline until they fit", extra=HUANG)
    ] = 512
    max_response_tokens: Annotated[int, Meta(ge=1, description="longer responses are cut, EOS included")] = 53
    max_bad_share: Annotated[
        float, Meta(ge=0, le=1, description="an error when more than this share of rows can't be used")
    ] = 0.05


COMPARISONS = DataConfig(max_response_tokens=169)


class OptimizerConfig(Section, frozen=True, kw_only=True):
    """AdamW and its learning-rate schedule."""

    lr: Annotated[float, Meta(ge=0, description="peak learning rate", extra=HUANG)] = 3e-6
    betas: Annotated[tuple[float, float], Meta(description="Adam's decay rates")] = (0.9, 0.999)
    eps: Annotated[float, Meta(gt=0, description="Adam's epsilon", extra=HUANG)] = 1e-5
    weight_decay: Annotated[float, Meta(ge=0, description="decoupled weight decay")] = 0.0
    schedule: Annotated[Literal["constant", "linear", "cosine"], Meta(description="shape after warm-up")] = "cosine"
    final_lr_share: Annotated[float, Meta(ge=0, le=1, description="learning rate at the end, as a share of lr")] = 0.0
    warmup_share: Annotated[float, Meta(ge=0, lt=1, description="share of the steps with rising learning rate")] = 0.0
    max_grad_norm: Annotated[float, Meta(ge=0, description="clip the gradient's norm; 0 means never", extra=HUANG)] = (
        0.0
    )


class PrecisionConfig(Section, frozen=True, kw_only=True):
    """Numbers: weights stay float32; `bfloat16` runs the forward and backward in bf16 with fp32 log-probabilities."""

    compute: Annotated[Precision, Meta(description="dtype of matrix products")] = "float32"


class TrainerConfig(Section, frozen=True, kw_only=True):
    """What every training stage has."""

    model: Annotated[ModelConfig, Meta(description="the model that is trained")] = ModelConfig()
    tokenizer: Annotated[TokenizerConfig, Meta(description="the tokenizer")] = TokenizerConfig()
    optimizer: Annotated[OptimizerConfig, Meta(description="AdamW and schedule")] = OptimizerConfig()
    precision: Annotated[PrecisionConfig, Meta(description="numbers")] = PrecisionConfig()
    device: Annotated[str, Meta(description="auto, cpu, cuda or cuda:N")] = "auto"
    seed: Annotated[int, Meta(ge=0, description="seed of everything random")] = 0
    threads: Annotated[int, Meta(ge=0, description="CPU threads; 0 means torch's choice")] = 0
    checkpoint_every: Annotated[int, Meta(ge=0, description="checkpoint every so many steps; 0 means at the end")] = 0
    keep_checkpoints: Annotated[int, Meta(ge=1, description="how many of the newest checkpoints are kept")] = 2


class PretrainConfig(TrainerConfig, frozen=True, kw_only=True):
    """Next-token training on plain text."""

    data: Annotated[DataConfig, Meta(description="documents")] = DataConfig(template="plain")
    eval_data: Annotated[DataConfig, Meta(description="held-out documents; no source means none")] = DataConfig(
        template="plain"
    )
    sequence_tokens: Annotated[int, Meta(ge=8, description="tokens in a packed sequence")] = 256
    batch_size: Annotated[int, Meta(ge=1, description="sequences in an optimizer step")] = 32
    micro_batch_size: Annotated[int, Meta(ge=1, description="sequences in one forward pass")] = 32
    epochs: Annotated[int, Meta(ge=1, description="passes over the data")] = 1
    max_steps: Annotated[int, Meta(ge=0, description="stop after so many steps; 0 means all")] = 0


class SFTConfig(TrainerConfig, frozen=True, kw_only=True):
    """Supervised fine-tuning on the response."""

    data: Annotated[DataConfig, Meta(description="demonstrations")] = DataConfig()
    eval_data: Annotated[DataConfig, Meta(description="held-out demonstrations; no source means none")] = DataConfig()
    batch_size: Annotated[int, Meta(ge=1, description="examples in an optimizer step", extra=HUANG)] = 128
    micro_batch_size: Annotated[int, Meta(ge=1, description="examples in one forward pass")] = 16
    epochs: Annotated[int, Meta(ge=1, description="passes over the data", extra=HUANG)] = 1
    max_steps: Annotated[int, Meta(ge=0, description="stop after so many steps; 0 means all")] = 0
    eval_every: Annotated[int, Meta(ge=0, description="held-out loss and samples every so many steps; 0: at end")] = 0
    sample_count: Annotated[int, Meta(ge=0, description="held-out prompts whose summaries are recorded")] = 4
    temperature: Annotated[float, Meta(gt=0, description="of the recorded samples", extra=HUANG)] = 0.7


class WorldComparisonConfig(Section, frozen=True, kw_only=True):
    """Simulated annotators of the built-in world, who label samples of the SFT policy."""

    samples_per_post: Annotated[int, Meta(ge=0, description="SFT samples in each group")] = 2
    temperature: Annotated[float, Meta(gt=0, description="of those samples")] = 1.0
    careful: Annotated[int, Meta(ge=1, description="careful writers' summaries in each training group")] = 1
    edited: Annotated[int, Meta(ge=0, description="copies of a careful one with one wrong fact, in training")] = 0
    sloppy: Annotated[int, Meta(ge=0, description="sloppy ones; edited = sloppy = 0: one of the two by chance")] = 0
    annotator_temperature: Annotated[float, Meta(gt=0, description="noise of a choice, in points of gold")] = 0.7
    flip_share: Annotated[float, Meta(ge=0, le=1, description="labels flipped at random")] = 0.03
    skimmer_share: Annotated[
        float, Meta(ge=0, le=1, description="labels by people who compare with the title only")
    ] = 0.12


class RMConfig(TrainerConfig, frozen=True, kw_only=True):
    """Bradley-Terry reward model on comparisons, pairwise or K-wise."""

    data: Annotated[DataConfig, Meta(description="comparisons")] = COMPARISONS
    eval_data: Annotated[DataConfig, Meta(description="held-out comparisons; no source means none")] = COMPARISONS
    norm_data: Annotated[
        DataConfig, Meta(description="demonstrations whose references score 0 after normalisation; none: no shift")
    ] = DataConfig()
    group_by_prompt: Annotated[
        bool, Meta(description="pairs on one post share their responses' forward passes", extra=STIENNON)
    ] = False
    batch_size: Annotated[int, Meta(ge=1, description="comparison groups in an optimizer step", extra=HUANG)] = 64
    micro_batch_size: Annotated[int, Meta(ge=1, description="comparison groups in one forward pass")] = 8
    epochs: Annotated[int, Meta(ge=1, description="passes over the data", extra=HUANG)] = 1
    max_steps: Annotated[int, Meta(ge=0, description="stop after so many steps; 0 means all")] = 0
    eval_every: Annotated[int, Meta(ge=0, description="held-out accuracy every so many steps; 0: at the end")] = 0
    head_init: Annotated[
        Literal["normal", "zero"], Meta(description="normal: N(0, 1/sqrt(d+1)); zero: ties at first", extra=HUANG)
    ] = "normal"
    score_norm: Annotated[
        Literal["none", "bias_on_references", "affine_on_sft_samples"],
        Meta(
            description="bias: references score 0 on average; affine: samples of the SFT policy have mean 0, std 1",
            extra=HUANG,
        ),
    ] = "bias_on_references"
    norm_rows: Annotated[int, Meta(ge=8, description="rows used for normalisation")] = 384
    world: Annotated[WorldComparisonConfig, Meta(description="how the built-in world's comparisons are made")] = (
        WorldComparisonConfig()
    )


class PPOConfig(TrainerConfig, frozen=True, kw_only=True):
    """PPO with a per-token KL penalty to the SFT policy."""

    data: Annotated[DataConfig, Meta(description="prompts")] = DataConfig()
    reward_model: Annotated[ModelConfig, Meta(description="scores responses; also where the critic starts")] = (
        ModelConfig()
    )
    value_optimizer: Annotated[
        OptimizerConfig | None, Meta(description="for the value model; none means as `optimizer`")
    ] = None
    total_episodes: Annotated[int, Meta(ge=1, description="responses sampled in all", extra=HUANG)] = 1_000_000
    batch_size: Annotated[int, Meta(ge=1, description="episodes in one update", extra=HUANG)] = 512
    ppo_epochs: Annotated[int, Meta(ge=1, description="passes over an update's episodes", extra=HUANG)] = 4
    minibatches: Annotated[int, Meta(ge=1, description="optimizer steps in a pass", extra=HUANG)] = 1
    micro_batch_size: Annotated[int, Meta(ge=1, description="rows in one training forward; the result is the same")] = (
        16
    )
    rollout_batch_size: Annotated[int, Meta(ge=1, description="rows sampled at once")] = 64
    response_tokens: Annotated[int, Meta(ge=1, description="longest response in tokens", extra=HUANG)] = 53
    temperature: Annotated[
        float, Meta(gt=0, description="one temperature: rollout, reference and update alike", extra=HUANG)
    ] = 0.7
    kl_coef: Annotated[float, Meta(ge=0, description="weight of the per-token k1 KL penalty", extra=HUANG)] = 0.05
    clip_range: Annotated[float, Meta(gt=0, description="ratio clipped to 1 +- this", extra=HUANG)] = 0.2
    value_clip_range: Annotated[float, Meta(gt=0, description="values clipped to old +- this", extra=HUANG)] = 0.2
    vf_coef: Annotated[float, Meta(ge=0, description="weight of the value loss", extra=HUANG)] = 0.1
    gamma: Annotated[float, Meta(ge=0, le=1, description="discount", extra=HUANG)] = 1.0
    gae_lambda: Annotated[float, Meta(ge=0, le=1, description="lambda of GAE", extra=HUANG)] = 0.95
    whiten_rewards: Annotated[bool, Meta(description="scale rewards to variance 1, mean kept", extra=HUANG)] = False
    whiten_advantages: Annotated[bool, Meta(description="advantages to mean 0, variance 1", extra=HUANG)] = True
    missing_eos: Annotated[
        Literal["replace", "subtract"],
        Meta(description="no EOS: the score is replaced by, or lowered by, missing_eos_value", extra=HUANG),
    ] = "replace"
    missing_eos_value: Annotated[
        float, Meta(description="replace: the score instead; subtract: what is taken off", extra=HUANG)
    ] = -1.0
    sample_every: Annotated[int, Meta(ge=1, description="record samples every so many updates")] = 1
    sample_count: Annotated[int, Meta(ge=0, description="samples recorded each time")] = 4


class EvalConfig(Section, frozen=True, kw_only=True):
    """Compares policies on held-out prompts."""

    policies: Annotated[dict[str, str], Meta(description="name -> directory, hub id or run:ID; first: baseline")] = {}
    reward_model: Annotated[str, Meta(description="directory, hub id or run:ID; empty means no proxy score")] = ""
    data: Annotated[DataConfig, Meta(description="held-out prompts with references")] = DataConfig(split="validation")
    comparisons: Annotated[DataConfig, Meta(description="measure the reward model; no source: none")] = COMPARISONS
    train_comparisons: Annotated[DataConfig, Meta(description="fit a linear baseline; no source: none")] = COMPARISONS
    world: Annotated[WorldComparisonConfig, Meta(description="annotators of the world")] = WorldComparisonConfig()
    curves: Annotated[dict[str, str], Meta(description="name -> run:ID of a PPO run: proxy and gold by update")] = {}
    tokenizer: Annotated[TokenizerConfig, Meta(description="the tokenizer")] = TokenizerConfig()
    precision: Annotated[PrecisionConfig, Meta(description="numbers")] = PrecisionConfig()
    temperatures: Annotated[list[float], Meta(description="sampling temperatures; 0 is greedy")] = field(
        default_factory=lambda: [1.0, 0.0]
    )
    response_tokens: Annotated[int, Meta(ge=1, description="longest response in tokens", extra=HUANG)] = 53
    batch_size: Annotated[int, Meta(ge=1, description="rows sampled at once")] = 64
    bootstrap: Annotated[int, Meta(ge=100, description="resamples for confidence intervals")] = 2000
    example_count: Annotated[int, Meta(ge=0, description="posts shown with every policy's summary")] = 3
    device: Annotated[str, Meta(description="auto, cpu, cuda or cuda:N")] = "auto"
    seed: Annotated[int, Meta(ge=0, description="seed of everything random")] = 0
    threads: Annotated[int, Meta(ge=0, description="CPU threads; 0 means torch's choice")] = 0
