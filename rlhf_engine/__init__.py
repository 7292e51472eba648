"""The algorithms: SFT, reward modelling, PPO. Knows no console and no run directory."""
