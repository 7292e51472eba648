"""Learning from preferences without a reward model: DPO, IPO, KTO."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from rlhf_engine.config.data import COMPARISONS, DataConfig
from rlhf_engine.config.sections import LIVE, STIENNON, TrainerConfig
from rlhf_engine.config.supervised import WorldComparisonConfig

RAFAILOV = {"source": "Rafailov et al. 2023"}
MITCHELL = {"source": "Mitchell 2023"}
AZAR = {"source": "Azar et al. 2023"}
ETHAYARAJH = {"source": "Ethayarajh et al. 2024"}


class PreferenceConfig(TrainerConfig, frozen=True, kw_only=True):
    """What DPO, IPO and KTO share."""

    data: Annotated[DataConfig, Meta(description="comparisons")] = COMPARISONS
    eval_data: Annotated[DataConfig, Meta(description="held-out comparisons; no source means none")] = COMPARISONS
    world: Annotated[WorldComparisonConfig, Meta(description="how the built-in world's comparisons are made")] = (
        WorldComparisonConfig()
    )
    labels_of: Annotated[
        str, Meta(description="run:ID of a reward-model run: its labelled comparisons of the world; empty: new ones")
    ] = ""
    group_by_prompt: Annotated[
        bool, Meta(description="pairs on one post share their responses' forward passes", extra=STIENNON)
    ] = False
    beta: Annotated[
        float, Meta(gt=0, description="strength of the KL penalty that the loss stands for", extra=RAFAILOV)
    ] = 0.1
    batch_size: Annotated[int, Meta(ge=1, description="comparison groups in an optimizer step", extra=RAFAILOV)] = 64
    micro_batch_size: Annotated[
        int, Meta(ge=1, description="comparison groups in one forward pass; the result is the same")
    ] = 8
    epochs: Annotated[int, Meta(ge=1, description="passes over the data")] = 1
    max_steps: Annotated[int, Meta(ge=0, description="stop after so many steps; 0 means all")] = 0
    eval_every: Annotated[
        int, Meta(ge=0, description="held-out accuracy, KL and samples every so many steps; 0: at the end", extra=LIVE)
    ] = 0
    kl_samples: Annotated[
        int,
        Meta(
            ge=0, description="held-out prompts that the policy answers, to measure its KL to the reference", extra=LIVE
        ),
    ] = 64
    sample_count: Annotated[int, Meta(ge=0, description="how many of those answers are recorded", extra=LIVE)] = 4


class DPOConfig(PreferenceConfig, frozen=True, kw_only=True):
    """Direct preference optimisation, conservative with `label_smoothing`."""

    label_smoothing: Annotated[
        float, Meta(ge=0, lt=0.5, description="share of labels taken as wrong (conservative DPO)", extra=MITCHELL)
    ] = 0.0


class IPOConfig(PreferenceConfig, frozen=True, kw_only=True):
    """Identity preference optimisation; `beta` is the paper's tau."""

    ipo_reduction: Annotated[
        Literal["sum", "mean"],
        Meta(description="log-ratio of a response: sum over its tokens (the paper), or mean", extra=AZAR),
    ] = "sum"


class KTOConfig(PreferenceConfig, frozen=True, kw_only=True):
    """Kahneman-Tversky optimisation: chosen responses are desirable, rejected ones undesirable."""

    batch_size: Annotated[
        int, Meta(ge=2, description="comparison groups in an optimizer step; z0 needs two", extra=ETHAYARAJH)
    ] = 64
    desirable_weight: Annotated[
        float, Meta(ge=0, description="weight of each desirable response", extra=ETHAYARAJH)
    ] = 1.0
    undesirable_weight: Annotated[
        float, Meta(ge=0, description="weight of each undesirable response", extra=ETHAYARAJH)
    ] = 1.0
