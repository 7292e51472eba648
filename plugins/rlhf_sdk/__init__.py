"""What a plugin speaks: events, commands, the run directory, the trainer contract. msgspec and stdlib only."""
