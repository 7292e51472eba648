"""Is it better: ROUGE, win rates, baselines, what the samples look like."""
