"""Decoding of the families that we know, over weights laid out once for a whole rollout; others by transformers."""
