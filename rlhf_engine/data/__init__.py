"""Prompts, demonstrations and preferences: from a hub, local files, or the built-in world."""
