"""What each role keeps in memory, from the tensors themselves: each storage counts once, however many share it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from rlhf_engine.optim import ScheduledAdamW
from rlhf_engine.sharding.state import local

Kind = Literal["weights", "gradients", "optimizer", "experience"]


class TableRow(NamedTuple):
    """One role's bytes of one kind."""

    role: str
    kind: Kind
    bytes: int


def memory_table(
    roles: Mapping[str, nn.Module], optimizers: Iterable[ScheduledAdamW], experience: Iterable[Tensor]
) -> list[TableRow]:
    """Weights (buffers too), gradients and optimizer state of each role, and the experience; nothing of 0 bytes.

    What several roles share is a frozen role's, else the first one's: so a row is what a role adds, as in the plan.
    """
    counted: set[int] = set()
    weights = {role: _new_bytes(_tensors_of(roles[role]), counted) for role in _frozen_first(roles)}
    states: dict[int, dict[str, Any]] = {
        id(parameter): optimizer.moments.get(parameter, {})
        for optimizer in optimizers
        for parameter in optimizer.parameters
    }
    rows = []
    for role, model in roles.items():
        parameters = list(model.parameters())
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        moments = [
            moment
            for parameter in parameters
            for moment in states.get(id(parameter), {}).values()
            if isinstance(moment, Tensor)
        ]
        rows.append(TableRow(role, "weights", weights[role]))
        rows.append(TableRow(role, "gradients", _new_bytes(gradients, counted)))
        rows.append(TableRow(role, "optimizer", _new_bytes(moments, counted)))
    rows.append(TableRow("", "experience", _new_bytes(experience, counted)))
    return [row for row in rows if row.bytes]


def tensors_in(value: object) -> Iterator[Tensor]:
    """The tensors of a dataclass (an experience, say) and of those that it is made of."""
    for part in vars(value).values():
        if isinstance(part, Tensor):
            yield part
        elif is_dataclass(part):
            yield from tensors_in(part)


def _frozen_first(roles: Mapping[str, nn.Module]) -> list[str]:
    return sorted(roles, key=lambda role: any(parameter.requires_grad for parameter in roles[role].parameters()))


def _tensors_of(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def _new_bytes(tensors: Iterable[Tensor], counted: set[int]) -> int:
    """Bytes of the storages that are not among the `counted`, which they join."""
    total = 0
    for tensor in tensors:
        storage = local(tensor).untyped_storage()
        if storage._cdata not in counted:
            counted.add(storage._cdata)
            total += storage.nbytes()
    return total
