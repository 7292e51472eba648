"""Supervised stages: pretraining, fine-tuning on demonstrations, reward model."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from rlhf_engine.config.data import COMPARISONS, DataConfig
from rlhf_engine.config.lora import LoraConfig
from rlhf_engine.config.sections import HUANG, LIVE, STIENNON, ModelConfig, Section, TrainerConfig


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

    lora: Annotated[LoraConfig | None, Meta(description="train adapters; none means every weight is trained")] = None
    data: Annotated[DataConfig, Meta(description="demonstrations")] = DataConfig()
    eval_data: Annotated[DataConfig, Meta(description="held-out demonstrations; no source means none")] = DataConfig()
    batch_size: Annotated[int, Meta(ge=1, description="examples in an optimizer step", extra=HUANG)] = 128
    micro_batch_size: Annotated[int, Meta(ge=1, description="examples in one forward pass")] = 16
    epochs: Annotated[int, Meta(ge=1, description="passes over the data", extra=HUANG)] = 1
    max_steps: Annotated[int, Meta(ge=0, description="stop after so many steps; 0 means all")] = 0
    eval_every: Annotated[
        int, Meta(ge=0, description="held-out loss and samples every so many steps; 0: at end", extra=LIVE)
    ] = 0
    sample_count: Annotated[
        int, Meta(ge=0, description="held-out prompts whose summaries are recorded", extra=LIVE)
    ] = 4
    temperature: Annotated[float, Meta(gt=0, description="of the recorded samples", extra=HUANG)] = 0.7


class AnnotatorConfig(Section, frozen=True, kw_only=True):
    """Simulated annotators of the built-in world."""

    annotator_temperature: Annotated[float, Meta(gt=0, description="noise of a choice, in points of gold")] = 0.7
    flip_share: Annotated[float, Meta(ge=0, le=1, description="labels flipped at random")] = 0.03
    skimmer_share: Annotated[
        float, Meta(ge=0, le=1, description="labels by people who compare with the title only")
    ] = 0.12


class WorldComparisonConfig(AnnotatorConfig, frozen=True, kw_only=True):
    """What they label: samples of the SFT policy beside human writers' summaries."""

    samples_per_post: Annotated[int, Meta(ge=0, description="SFT samples in each group")] = 2
    temperature: Annotated[float, Meta(gt=0, description="of those samples")] = 1.0
    careful: Annotated[int, Meta(ge=1, description="careful writers' summaries in each training group")] = 1
    edited: Annotated[int, Meta(ge=0, description="copies of a careful one with one wrong fact, in training")] = 0
    sloppy: Annotated[int, Meta(ge=0, description="sloppy ones; edited = sloppy = 0: one of the two by chance")] = 0


class RMConfig(TrainerConfig, frozen=True, kw_only=True):
    """Bradley-Terry reward model on comparisons, pairwise or K-wise."""

    lora: Annotated[LoraConfig | None, Meta(description="train adapters; none means every weight is trained")] = None
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
    eval_every: Annotated[
        int, Meta(ge=0, description="held-out accuracy every so many steps; 0: at the end", extra=LIVE)
    ] = 0
    head_init: Annotated[
        Literal["normal", "zero"], Meta(description="normal: N(0, 1/sqrt(d+1)); zero: ties at first", extra=HUANG)
    ] = "normal"
    head: Annotated[
        Literal["linear", "mlp"], Meta(description="what reads a score off a state; mlp: one hidden layer, GELU")
    ] = "linear"
    pooling: Annotated[
        Literal["last", "mean"], Meta(description="the state that is read: at the last token, or the response's mean")
    ] = "last"
    heads: Annotated[
        int, Meta(ge=1, description="an ensemble of so many heads on one backbone, each on its own bootstrap of groups")
    ] = 1
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
    labels_of: Annotated[
        str, Meta(description="run:ID of a reward-model run: its labelled comparisons of the world; empty: new ones")
    ] = ""
    sft_model: Annotated[
        ModelConfig, Meta(description="the SFT policy, where `model` is a reward model that is trained further")
    ] = ModelConfig()
