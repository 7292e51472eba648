"""One run in several processes: `starting` by torchrun, the `worker` of each rank, what they agree on and report."""
