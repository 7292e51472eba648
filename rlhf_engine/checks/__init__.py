"""Sanity lights: figures of a run, or of models and data before one, held against thresholds."""
