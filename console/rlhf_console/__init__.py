"""A terminal console and a headless CLI that launch, watch and control RLHF training."""
