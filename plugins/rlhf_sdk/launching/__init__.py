"""Launchers place a run's process: here, on a cluster, in a cloud. What they speak, and how they are asked."""
