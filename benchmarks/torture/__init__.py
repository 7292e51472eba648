"""Runs that are killed, stopped and starved of disk at counted moments, resumed, and held against undisturbed ones."""
