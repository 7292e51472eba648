"""How time, memory and records grow: `python -m benchmarks scale`, `scale-records`, `scale-store`."""
