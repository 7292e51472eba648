"""Weights, gradients and moments shared out over ranks, by torch's FSDP2 and ZeroRedundancyOptimizer."""
