"""Who says which of two responses is better: scores, a Claude model, a program, a function, recorded verdicts."""
