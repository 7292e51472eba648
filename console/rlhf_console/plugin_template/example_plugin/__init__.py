"""What rlhf-console gets to know of example-plugin. Keep it light: forms and lists import this, and no trainer."""

from typing import Annotated

from msgspec import Meta, Struct

from rlhf_sdk.spec import Panel, PluginSpec, SampleColumn


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every option: its type, what is allowed, what it is for, and a default."""

    steps: Annotated[int, Meta(ge=1, description="how many updates")] = 60
    batch_size: Annotated[int, Meta(ge=2, description="responses in an update")] = 16
    learning_rate: Annotated[float, Meta(gt=0, description="how far an update goes", extra={"live": True})] = 0.5
    weight_decay: Annotated[float, Meta(ge=0, description="how strongly logits are pulled to zero")] = 0.01
    rewarded: Annotated[str, Meta(min_length=1, description="the word that scores 1; others score 0")] = "please"
    checkpoint_every: Annotated[int, Meta(ge=0, description="checkpoint every so many steps; 0: at the end")] = 0
    seed: Annotated[int, Meta(ge=0, description="seed of everything random")] = 0


plugin = PluginSpec(
    name="example-plugin",
    summary="REINFORCE on four words, one of which is rewarded",
    config=Config,
    trainer="example_plugin.trainer:Trainer",  # imported in the process of a run only
    panels=[
        Panel("Reward", ["reward/mean"]),
        Panel("Entropy", ["policy/entropy_nats"], "nats"),
        Panel("Loss", ["loss/policy"]),
    ],
    headline=["reward/mean", "policy/entropy_nats"],
    sample_columns=[SampleColumn("score"), SampleColumn("advantage", "adv")],
)
