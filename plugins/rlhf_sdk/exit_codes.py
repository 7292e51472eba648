"""Exit codes of every command and worker."""

from enum import IntEnum


class ExitCode(IntEnum):
    """128 + n, not listed here, means ended by signal n."""

    DONE = 0
    USER_ERROR = 2
    """The user's mistake: config, data or arguments."""
    PLUGIN_FAILED = 3
    DIVERGED = 4
    """Non-finite loss or gradient, or a strict check failed."""
    OUT_OF_MEMORY = 5
    REQUEUE = 75
    """Checkpointed; run me again."""
