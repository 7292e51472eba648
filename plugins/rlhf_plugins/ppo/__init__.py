"""PPO with a per-token KL penalty to the SFT policy."""

from rlhf_engine.config import PPOConfig
from rlhf_plugins.panels import LEARNING_RATE
from rlhf_sdk.spec import Panel, PluginSpec

plugin = PluginSpec(
    name="ppo",
    summary="PPO with a per-token KL penalty to the SFT policy",
    config=PPOConfig,
    trainer="rlhf_plugins.ppo.trainer:PPOTrainer",
    panels=[
        Panel("Reward", ["reward/score_mean", "reward/total_mean", "gold/score_mean"], "points"),
        Panel("KL to the SFT policy", ["kl/sequence_nats"], "nats/sequence"),
        Panel("Entropy", ["policy/entropy_nats"], "nats/token"),
        Panel("Policy loss", ["loss/policy"]),
        Panel("Value loss", ["loss/value"]),
        Panel("Clip fraction", ["policy/clip_fraction", "value/clip_fraction"], "share"),
        Panel("Explained variance", ["value/explained_variance"], "share"),
        Panel("Response length", ["response/tokens_mean"], "tokens"),
        Panel("Ended with EOS", ["response/eos_share"], "share"),
        Panel("Throughput", ["throughput/episodes_per_second"], "episodes/s"),
        Panel("Gradient norm", ["optimizer/grad_norm", "optimizer/value_grad_norm"]),
        LEARNING_RATE,
    ],
    headline=["reward/score_mean", "kl/sequence_nats", "gold/score_mean"],
    plan="rlhf_plugins.plans:plan_ppo",
)
