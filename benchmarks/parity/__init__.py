"""The engine beside the last TRL that had PPO, and torch's own reinforcement-learning library: `make parity`."""
