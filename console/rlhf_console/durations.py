"""How long, as people write it: 90s, 10m, 2h, 1h30m, 2d."""

from __future__ import annotations

import re

from rlhf_sdk.pace import AttemptOptions
from rlhf_sdk.trainer import UserError

_SECONDS = (86400, 3600, 60, 1)
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def seconds_of(text: str, option: str) -> float:
    """The seconds of a duration. Raises `UserError` naming `option`."""
    match = _DURATION.fullmatch(text)
    parts = zip(match.groups(), _SECONDS, strict=True) if match else ()
    seconds = sum(float(amount) * size for amount, size in parts if amount)
    if not seconds:
        raise UserError(f"{option} {text!r}: expected a duration such as 90s, 10m, 2h or 1h30m")
    return seconds


def attempt_options(max_time: str, checkpoint_every: str) -> AttemptOptions:
    """What `--max-time` and `--checkpoint-every` mean; empty: not given. Raises `UserError`."""
    steps = int(checkpoint_every) if checkpoint_every.isdecimal() else 0
    if checkpoint_every and not steps and checkpoint_every.isdecimal():
        raise UserError("--checkpoint-every 0: expected steps, such as 50, or a duration, such as 10m")
    timed = seconds_of(checkpoint_every, "--checkpoint-every") if checkpoint_every and not steps else 0.0
    return AttemptOptions(
        max_seconds=seconds_of(max_time, "--max-time") if max_time else 0.0,
        checkpoint_steps=steps,
        checkpoint_seconds=timed,
    )
