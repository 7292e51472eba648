"""AdamW with a closed-form learning rate, gradient clipping, and a stop before a step that is not finite."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rlhf_engine.config import OptimizerConfig
from rlhf_engine.errors import NonFiniteError
from rlhf_engine.ranks import ALONE, Ranks
from rlhf_engine.sharding.moments import new_adamw, own_optimizer
from rlhf_engine.sharding.state import is_shard, local, placed_like


def lr_share(
    step: int, total: int, *, schedule: Literal["constant", "linear", "cosine"], final_share: float, warmup_share: float
) -> float:
    """Learning rate of step `step` (counted from 0) of `total`, as a share of the peak.

    Linear warm-up over `warmup_share` of the steps, then the schedule's way from 1 to `final_share` at step `total`.
    """
    warmup = round(warmup_share * total)
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    done = (step - warmup) / max(total - warmup, 1)
    way = 1.0 - done if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return final_share + (1.0 - final_share) * way


class ScheduledAdamW:
    """AdamW over named parameters; `step()` sets the learning rate, clips, checks and updates.

    `partitioned`: each parameter's moments are on one rank alone (zero-1).
    """

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        config: OptimizerConfig,
        total_steps: int,
        ranks: Ranks = ALONE,
        *,
        partitioned: bool = False,
    ) -> None:
        named = [(name, parameter) for name, parameter in parameters if parameter.requires_grad]
        self.names = [name for name, _ in named]
        self.parameters = [parameter for _, parameter in named]
        self.config, self.total_steps, self.steps_done, self.ranks = config, total_steps, 0, ranks
        self.is_partitioned = partitioned
        self.adamw = new_adamw(self.parameters, config, partitioned=partitioned)

    @property
    def own_parameters(self) -> dict[str, nn.Parameter]:
        """By name, those whose moments this rank keeps; of a sharded one its shard's."""
        own = {id(parameter) for group in own_optimizer(self.adamw).param_groups for parameter in group["params"]}
        named = zip(self.names, self.parameters, strict=True)
        return {name: parameter for name, parameter in named if id(parameter) in own}

    @property
    def moments(self) -> Mapping[Tensor, dict[str, Any]]:
        """What AdamW keeps of each parameter on this rank."""
        return own_optimizer(self.adamw).state

    @property
    def lr(self) -> float:
        """Learning rate of the coming step."""
        config = self.config
        share = lr_share(
            self.steps_done,
            self.total_steps,
            schedule=config.schedule,
            final_share=config.final_lr_share,
            warmup_share=config.warmup_share,
        )
        return config.lr * share

    def step(self) -> float:
        """Updates from the gradients that all ranks accumulated, and clears them; returns their norm before clipping.

        Raises NonFiniteError, with the weights untouched, if the norm is not finite.
        """
        whole = [parameter for parameter in self.parameters if not is_shard(parameter)]
        self.ranks.sum_gradients(whole)
        limit = self.config.max_grad_norm or math.inf
        if len(whole) == len(self.parameters):
            norm = float(nn.utils.clip_grad_norm_(self.parameters, limit))
        else:
            norm = clip_shared_gradients(self.parameters, limit, self.ranks)
        if not math.isfinite(norm):
            raise NonFiniteError(f"gradient norm is {norm} at optimizer step {self.steps_done}; no weight was changed")
        for group in self.adamw.param_groups:
            group["lr"] = self.lr
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)
        self.steps_done += 1
        return norm

    def drop_gradients(self) -> None:
        """Forgets what was accumulated."""
        self.adamw.zero_grad(set_to_none=True)

    def skip(self, steps: int) -> None:
        """Drops the accumulated gradients; the learning rate goes on as if `steps` steps had been taken."""
        self.drop_gradients()
        self.steps_done += steps

    def state_tensors(self) -> dict[str, Tensor]:
        """This rank's moments and step counts by parameter name, for a checkpoint; of shards as shards."""
        return {
            f"{name}/{key}": value
            for name, parameter in self.own_parameters.items()
            for key, value in self.moments.get(parameter, {}).items()
        }

    def load_state_tensors(self, tensors: dict[str, Tensor], steps_done: int) -> None:
        """The inverse of `state_tensors`; tensors may be whole, and other ranks' be among them."""
        for name, parameter in self.own_parameters.items():
            keys = ("step", "exp_avg", "exp_avg_sq")
            entries = {key: tensors[f"{name}/{key}"] for key in keys if f"{name}/{key}" in tensors}
            if entries:
                own_optimizer(self.adamw).state[parameter] = {
                    key: value.to(parameter.device) if key == "step" else placed_like(value, parameter)
                    for key, value in entries.items()
                }
        self.steps_done = steps_done


@torch.no_grad()
def clip_shared_gradients(parameters: Sequence[nn.Parameter], limit: float, ranks: Ranks) -> float:
    """The norm of all gradients, of which a rank has some as shards; they are scaled down to `limit`, in place."""
    shards, whole = (
        [p.grad for p in parameters if p.grad is not None and is_shard(p) is kind] for kind in (True, False)
    )
    squares = [_square_sum([local(part) for part in shards]), _square_sum(whole)]
    norm = (ranks.summed(squares[0]) + squares[1]).sqrt()
    share = (limit / (norm + 1e-6)).clamp(max=1.0)
    for gradient in (*shards, *whole):
        local(gradient).mul_(share.to(gradient.dtype))
    return float(norm)


def _square_sum(tensors: Sequence[Tensor]) -> Tensor:
    parts = [torch.linalg.vector_norm(tensor, dtype=torch.float64).square() for tensor in tensors]
    return torch.stack(parts).sum() if parts else torch.zeros((), dtype=torch.float64)


def check_finite_loss(loss: Tensor) -> None:
    """Raises NonFiniteError if the loss (scalar) is NaN or infinite."""
    if not bool(torch.isfinite(loss)):
        raise NonFiniteError(f"loss is {float(loss)}; no weight was changed")
