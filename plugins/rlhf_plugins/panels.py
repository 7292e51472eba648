"""Charts that several plugins share."""

from rlhf_sdk.spec import Panel

LEARNING_RATE = Panel("Learning rate", ["optimizer/lr"])
GRADIENT = Panel("Gradient norm", ["optimizer/grad_norm"])
TOKENS_PER_SECOND = Panel("Throughput", ["throughput/tokens_per_second"], "tokens/s")

REWARD_PANELS = [
    Panel("Reward", ["reward/score_mean", "reward/total_mean", "gold/score_mean"], "points"),
    Panel("KL to the SFT policy", ["kl/sequence_nats"], "nats/sequence"),
    Panel("Entropy", ["policy/entropy_nats"], "nats/token"),
    Panel("Policy loss", ["loss/policy"]),
]
RESPONSE_PANELS = [
    Panel("Response length", ["response/tokens_mean"], "tokens"),
    Panel("Ended with EOS", ["response/eos_share"], "share"),
    Panel("Throughput", ["throughput/episodes_per_second"], "episodes/s"),
]
PROBE_PANELS = [
    Panel("Probe: proxy and second opinion", ["probe/proxy_mean", "probe/second_mean"], "points"),
    Panel("Probe: KL to the SFT policy", ["probe/kl_sequence_nats"], "nats/sequence"),
    Panel(
        "Probe: copying and repetition",
        ["probe/title_copying", "probe/coverage", "probe/repetition", "probe/shared_phrase"],
        "share",
    ),
]
DISAGREEMENT = Panel("Disagreement of the reward model's heads", ["reward/disagreement"], "points")
KL_COEFFICIENT = Panel("KL coefficient", ["kl/coef"])
ONLINE_HEADLINE = ["reward/score_mean", "kl/sequence_nats", "gold/score_mean"]
