"""Which pairs of responses people are asked about, and who is asked."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from rlhf_engine.config.data import DataConfig
from rlhf_engine.config.judging import JudgeConfig
from rlhf_engine.config.sections import (
    HUANG,
    LIVE,
    ModelConfig,
    PrecisionConfig,
    ReleaseCache,
    Section,
    TokenizerConfig,
)
from rlhf_engine.config.supervised import AnnotatorConfig

Choose = Literal["random", "near_ties", "disagreement"]
Labeller = Literal["people", "annotators", "judge"]


class PairsConfig(Section, frozen=True, kw_only=True):
    """Pairs of responses to one prompt, sampled from a policy, and their labels."""

    model: Annotated[ModelConfig, Meta(description="the policy that is sampled")] = ModelConfig()
    against: Annotated[
        ModelConfig, Meta(description="the policy that writes the other response; none: the same one, a second time")
    ] = ModelConfig()
    reward_model: Annotated[ModelConfig, Meta(description="scores the pairs; none: nothing is known of them")] = (
        ModelConfig()
    )
    data: Annotated[DataConfig, Meta(description="prompts")] = DataConfig()
    prompts: Annotated[int, Meta(ge=1, description="prompts answered twice, of which `pairs` are chosen")] = 256
    pairs: Annotated[int, Meta(ge=1, description="how many pairs are to be labelled")] = 64
    choose: Annotated[
        Choose,
        Meta(description="which pairs: any; those nearest to a tie; or those on whose margin the heads disagree most"),
    ] = "random"
    round: Annotated[
        int, Meta(ge=1, description="which round this is: rounds of one seed share no prompt until all were used")
    ] = 1
    labeller: Annotated[
        Labeller, Meta(description="people: waits for `rlhf label`; annotators: the built-in world's; judge: `judge`")
    ] = "people"
    labels_wanted: Annotated[
        int, Meta(ge=0, description="people: go on when so many pairs are labelled; 0: all of them", extra=LIVE)
    ] = 0
    annotators: Annotated[AnnotatorConfig, Meta(description="simulated annotators")] = AnnotatorConfig()
    judge: Annotated[JudgeConfig, Meta(description="who judges; asked in both orders, and what differs is a tie")] = (
        JudgeConfig()
    )
    temperature: Annotated[float, Meta(gt=0, description="of the samples", extra=HUANG)] = 0.7
    response_tokens: Annotated[int, Meta(ge=1, description="longest response in tokens", extra=HUANG)] = 53
    batch_size: Annotated[int, Meta(ge=1, description="rows sampled or scored at once")] = 64
    tokenizer: Annotated[TokenizerConfig, Meta(description="the tokenizer")] = TokenizerConfig()
    precision: Annotated[PrecisionConfig, Meta(description="numbers")] = PrecisionConfig()
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
