"""Measurements: `make bench`, or `python -m benchmarks NAME`. Results go to benchmarks/results."""
