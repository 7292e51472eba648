"""What the full screen costs: `python -m benchmarks console-start`, `console-live`, ..."""
