"""Fewer rows at a time where memory ran out: the work is done again in smaller pieces, its result stays."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from rlhf_engine.hooks import Hooks
from rlhf_engine.out_of_memory import is_out_of_memory

Result = TypeVar("Result")


class BackOff:
    """Remembers for each kind of work how many rows at a time fit, where the configured number didn't.

    `sizes` is part of what survives a restart: a resumed run doesn't try what failed before.
    """

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self._word: Path | None = None

    def leave_word(self, file: Path) -> None:
        """From now on work that runs out of memory is not begun again here: other ranks wait for this one's weights,
        and can't be told. `file` keeps how many rows at a time the next processes begin it with.
        """
        self._word = file
        self.sizes |= json.loads(file.read_text()) if file.exists() else {}

    def attempt(self, what: str, rows: int, work: Callable[[int], Result], hooks: Hooks) -> Result:
        """`work(rows)`, from its beginning again with half as many rows whenever memory runs out, on any rank.

        Raises the error of the last attempt where not even one row fits.
        """
        while True:
            rows = min(rows, self.sizes.get(what, rows))
            try:
                done = work(rows)
                hooks.safe_point()
                return done
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                smaller = rows // 2
                if self._word is not None:
                    self._word.write_text(json.dumps(self.sizes | {what: max(smaller, 1)}))
                    raise
                hooks.out_of_memory(error, what=what, rows=rows, smaller=smaller or None)
                if not smaller:
                    raise
            self.sizes[what] = smaller
            _free()


def _free() -> None:
    """What the failed attempt left; its frames are gone by now."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
