"""Checkpoints whose tensors lie in pieces, one file a rank: what is where, and whole files made of them. No torch."""
