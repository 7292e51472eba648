"""How charts were drawn last, for each plugin, from one session to the next."""

from __future__ import annotations

import msgspec

from rlhf_console.runs.state_file import StateFile
from rlhf_console.tui.drawing.chart_options import SMOOTHINGS, Axis, ChartOptions
from rlhf_sdk.trainer import UserError


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """`pattern` chooses charts, `hidden` and `enlarged` (none: empty) are titles of charts."""

    smoothing: float = 0.0
    log: bool = False
    axis: Axis = "step"
    pattern: str = ""
    enlarged: str = ""
    hidden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.smoothing not in SMOOTHINGS:
            raise ValueError(f"smoothing {self.smoothing} is none of {SMOOTHINGS}")

    @property
    def options(self) -> ChartOptions:
        return ChartOptions(self.log, self.smoothing, self.axis)


class Layouts:
    """One layout for each plugin."""

    def __init__(self) -> None:
        self._file = StateFile("layouts.json")
        self._known: dict[str, Layout] = {}

    def of(self, plugin: str) -> Layout:
        """As it was kept, else the usual one. Raises `UserError`, once, where what was kept can't be used."""
        if plugin not in self._known:
            self._known[plugin] = Layout()
            kept = self._file.read().get(plugin, {})
            try:
                self._known[plugin] = msgspec.convert(kept, Layout)
            except msgspec.ValidationError as error:
                raise UserError(f"{self._file.path}: {plugin!r} is not used: {error}") from error
        return self._known[plugin]

    def keep(self, plugin: str, layout: Layout) -> None:
        """Nothing where it is as before. Raises `UserError` if it can't be written."""
        if layout != self._known.get(plugin):
            self._known[plugin] = layout
            self._file.set(plugin, msgspec.to_builtins(layout))
