"""Charts that several plugins share."""

from rlhf_sdk.spec import Panel

LEARNING_RATE = Panel("Learning rate", ["optimizer/lr"])
GRADIENT = Panel("Gradient norm", ["optimizer/grad_norm"])
TOKENS_PER_SECOND = Panel("Throughput", ["throughput/tokens_per_second"], "tokens/s")
