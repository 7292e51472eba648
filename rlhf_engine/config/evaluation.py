"""Evaluation of policies and reward models."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field, structs

from rlhf_engine.config.data import COMPARISONS, PEOPLE, DataConfig
from rlhf_engine.config.judging import JudgeConfig
from rlhf_engine.config.sections import COSTE, HUANG, PrecisionConfig, ReleaseCache, Section, TokenizerConfig
from rlhf_engine.config.supervised import WorldComparisonConfig


class EvalConfig(Section, frozen=True, kw_only=True):
    """Compares policies on held-out prompts, or says whether PPO on a reward model is wise."""

    what: Annotated[
        Literal["policies", "reward_model"],
        Meta(description="compare policies, or report on a reward model; the first policy is then the SFT policy"),
    ] = "policies"
    policies: Annotated[
        dict[str, str],
        Meta(description="name -> directory, hub id, run:ID, run:ID@STEP; first: baseline; empty: left out"),
    ] = field(default_factory=dict)
    reward_model: Annotated[str, Meta(description="directory, hub id or run:ID; empty means no proxy score")] = ""
    ensemble_penalty: Annotated[
        float,
        Meta(ge=0, description="as in ppo: taken off a score per std of the reward model's heads", extra=COSTE),
    ] = 0.0
    data: Annotated[DataConfig, Meta(description="held-out prompts with references")] = DataConfig(split="validation")
    best_of: Annotated[
        list[Annotated[int, Meta(ge=2)]],
        Meta(description="a further policy for each number: best of so many samples of the baseline by reward model"),
    ] = field(default_factory=list)
    second_task: Annotated[
        DataConfig, Meta(description="another task with references, for the cost of alignment; no source: none")
    ] = DataConfig()
    comparisons: Annotated[DataConfig, Meta(description="measure the reward model; no source: none")] = COMPARISONS
    train_comparisons: Annotated[DataConfig, Meta(description="fit a linear baseline; no source: none")] = COMPARISONS
    world: Annotated[WorldComparisonConfig, Meta(description="annotators of the world")] = WorldComparisonConfig()
    curves: Annotated[dict[str, str], Meta(description="name -> run:ID of a PPO run: proxy, gold by update")] = field(
        default_factory=dict
    )
    people: Annotated[
        DataConfig, Meta(description="people's choices and ratings, to hold judge and reward model against; none")
    ] = PEOPLE
    judge: Annotated[JudgeConfig, Meta(description="who compares responses; none: no judge")] = JudgeConfig()
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
    deterministic: Annotated[
        bool, Meta(description="only operations that give the same bits each time: exact resume on a GPU, slower")
    ] = False
    memory_budget_gib: Annotated[
        float, Meta(ge=0, description="GiB that a step may use on the device, beyond which it is out of memory; 0: all")
    ] = 0.0
    release_cache: Annotated[
        ReleaseCache, Meta(description="give memory that torch keeps unused back to the GPU; auto: where it is short")
    ] = "auto"

    def with_named_policies(self) -> EvalConfig:
        """Without the policies whose path is empty: how a profile drops one of the profile that it extends."""
        return structs.replace(self, policies={name: path for name, path in self.policies.items() if path})
