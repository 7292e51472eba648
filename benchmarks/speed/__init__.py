"""Our stages beside their peers, in turns: `python -m benchmarks speed`."""
