"""Which checkpoints are kept: the newest few, one every so many steps, and the best by a metric."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import msgspec

from rlhf_sdk.checkpoints import checkpoint_step, damage, list_checkpoints, read_state, remove_checkpoint
from rlhf_sdk.shards.assembling import remove_assembled


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """`newest`: how many of the newest (None: all). `every`: those whose step is a multiple of it (0: none for that).

    `metric`: the one with the `best_is` value of it (empty: none for that).
    """

    newest: int | None = None
    every: int = 0
    metric: str = ""
    best_is: Literal["highest", "lowest"] = "highest"


def retention_of(config: Any) -> Retention:
    """What a config says of it; keys that it doesn't have keep everything."""
    plain = Retention()
    return Retention(
        newest=getattr(config, "keep_checkpoints", plain.newest),
        every=getattr(config, "keep_every", plain.every),
        metric=getattr(config, "keep_best", plain.metric),
        best_is=getattr(config, "best_is", plain.best_is),
    )


def prune(written: Path, retention: Retention) -> list[str]:
    """Deletes what `retention` doesn't keep of the checkpoints beside `written`; returns the names of what went.

    `written`, which was hashed a moment ago, stays whatever is said of the others, so that a good one is left. Damaged
    ones are no reason to delete a good one: they don't count, and they stay.
    """
    if retention.newest is None:
        return []
    good = [path for path in list_checkpoints(written.parent) if damage(path, contents=False) is None]
    kept = {written, *good[-retention.newest :], *_by_step(good, retention.every), *_best(good, retention)}
    removed = [path for path in good if path not in kept]
    for checkpoint in removed:
        remove_checkpoint(checkpoint)
        remove_assembled(checkpoint)
    return [checkpoint.name for checkpoint in removed]


def _by_step(checkpoints: list[Path], every: int) -> list[Path]:
    return [path for path in checkpoints if every and checkpoint_step(path.name) % every == 0]


def _best(checkpoints: list[Path], retention: Retention) -> list[Path]:
    """The best one, the oldest of equal ones; none where no checkpoint has the figure."""
    sign = 1 if retention.best_is == "highest" else -1
    figures = [(path, figure) for path in checkpoints if (figure := _figure(path, retention.metric)) is not None]
    return [max(figures, key=lambda found: sign * found[1])[0]] if figures else []


def _figure(checkpoint: Path, metric: str) -> float | None:
    """What the checkpoint's last step reported; None if it didn't, or nothing finite."""
    figure = read_state(checkpoint).metrics.get(metric) if metric else None
    return figure if figure is not None and math.isfinite(figure) else None
