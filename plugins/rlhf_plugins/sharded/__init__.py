"""Sharded weights and moments into a checkpoint and back, through torch.distributed.checkpoint."""
