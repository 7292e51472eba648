"""What a GPU's graph asks of a step: tensors in place and nothing else. A graph of our own, on the CPU, replays it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from engine_models import ARCHITECTURES, policy_of, word_tokenizer
from rlhf_engine.config import Architecture
from rlhf_engine.decoding import decoder as decoding
from rlhf_engine.decoding.sampler import keyed_uniforms
from rlhf_engine.decoding.sampling import Sampling
from rlhf_engine.generation import decoder_of
from rlhf_engine.hooks import NoHooks

PROMPTS = [[5, 6, 7, 8], [9], [10, 11], [12, 13, 14, 15, 16], [17, 18]]
WAITS = ("_local_scalar_dense", "nonzero", "masked_select")
"""Operations for which the host waits."""


class Recorded(TorchDispatchMode):
    """A graph: the operations of a step, which `replay` repeats on the same tensors, whatever is in them by then."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert not any(name in str(func) for name in WAITS), f"the host waits for {func}"
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.calls.append((func, args, kwargs or {}, tensors))
        return result

    def replay(self) -> None:
        for func, args, kwargs, results in self.calls:
            again = [leaf for leaf in tree_leaves(func(*args, **kwargs)) if isinstance(leaf, Tensor)]
            for old, new in zip(results, again, strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class RecordedSteps:
    """Stands in for CUDA's graphs."""

    def __init__(self) -> None:
        self.graphs: dict[tuple[int, int], Recorded] = {}
        self.replays = 0

    def run(self, step: Any, rows: int, reach: int) -> None:
        if graph := self.graphs.get((rows, reach)):
            self.replays += 1
            graph.replay()
            return
        with Recorded() as self.graphs[rows, reach]:
            step(rows, reach)


@contextmanager
def fixed_shapes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a GPU."""
    monkeypatch.setitem(decoding.REACH, "cpu", 8)
    with torch.no_grad():
        yield


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_replayed_steps_sample_the_same_tokens(architecture: Architecture, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = policy_of(word_tokenizer(), architecture).eval()
    uniforms = keyed_uniforms(3, range(len(PROMPTS)), 9)

    def new_sampling() -> Sampling:
        decoder = decoder_of(policy, rows=8, places=16)
        device = torch.device("cpu")
        return Sampling(decoder, rows=8, response_tokens=9, temperature=1.0, eos_id=0, device=device)

    with torch.no_grad():
        expected = new_sampling().sample(PROMPTS, uniforms, NoHooks())
    with fixed_shapes(monkeypatch):
        sampling, steps = new_sampling(), RecordedSteps()
        monkeypatch.setattr(sampling, "_captured", steps)
        tokens = [sampling.sample(PROMPTS, uniforms, NoHooks()) for _ in range(2)]
    assert torch.equal(tokens[0], expected)
    assert torch.equal(tokens[1], expected)
    assert steps.replays > len(steps.graphs) >= 2
