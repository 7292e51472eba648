"""Reward hacking, seen early: what a policy writes to a fixed set of prompts, measured again and again."""
