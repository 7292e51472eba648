"""What ranks write together: the same bits again for as many, the same tensors for any number in any layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.distributed as dist
from transformers import AutoModelForCausalLM

from engine_models import random_rollout, word_tokenizer
from processes import in_ranks
from rlhf_engine.config import PPOShardingConfig
from rlhf_engine.ranks import ALONE, Ranks
from rlhf_engine.sft import SFTState, sft_update
from rlhf_engine.sharding.state import is_shard
from rlhf_plugins.sharded.trained import Trained
from rlhf_sdk.shards.assembling import copy_model, make_models_whole
from rlhf_sdk.shards.index import FileOfPieces, read_index
from trained import HOOKS, Setting

Whole = dict[str, Any]
LAYOUTS = ("ddp", "zero-2", "zero-3")
FAMILIES = ("llama", "gpt2", "gpt_neox")


class Case(NamedTuple):
    layout: Any
    architecture: Any

    @property
    def name(self) -> str:
        return f"{self.layout} {self.architecture}"


CASES = [Case(layout, family) for layout, family in zip(LAYOUTS, FAMILIES, strict=True)]
CASES += [Case("zero-2", "llama"), Case("zero-1", "gpt2")]
READ_AS = {
    1: ("ddp", "ddp", "ddp", "ddp", "ddp"),
    2: ("zero-3", "zero-3", "zero-2", "zero-1", "ddp"),
    4: ("zero-1", "zero-3", "zero-3", "ddp", "zero-3"),
}
"""By number of ranks, the layout that each case is read in."""


class Small:
    """A policy that is trained by SFT, laid out as asked."""

    def __init__(self, ranks: Ranks, case: Case) -> None:
        setting = Setting(torch.float32, PPOShardingConfig(model=case.layout), case.architecture)
        self.ranks, self.policy = ranks, setting.policy()
        setting.lay_out(ranks, model=self.policy)
        self.state = SFTState(self.policy, setting.optimizer(self.policy.named_parameters(), ranks), ranks=ranks)

    @property
    def trained(self) -> Trained:
        return Trained({"model": self.policy}, {}, {"model": self.state.optimizer})

    def train(self, steps: int) -> None:
        for _ in range(steps):
            rollout = random_rollout(8, seed=self.state.optimizer.steps_done)
            sft_update(self.state, rollout, micro_batch_size=3, compute="float32", hooks=HOOKS)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.trained.save_shards(folder, self.ranks)
        if self.ranks.rank == 0:
            self.trained.save_whole(folder, word_tokenizer())
        self.ranks.summed(torch.zeros(1))

    def load(self, folder: Path, steps: int = 2) -> None:
        self.trained.load(folder, {"model": steps})

    def whole(self) -> Whole:
        """Weights and moments of all ranks."""
        weights = gathered(dict(self.policy.named_parameters()))
        moments = gathered(self.state.optimizer.state_tensors())
        of_ranks = [moments] * self.ranks.size
        if self.ranks.size > 1:
            dist.all_gather_object(of_ranks, moments)
        return weights | {name: value for of_rank in of_ranks for name, value in of_rank.items()}


def gathered(tensors: Mapping[str, Any]) -> Whole:
    parts = {name: tensor.full_tensor() if is_shard(tensor) else tensor for name, tensor in tensors.items()}
    return {name: part.detach().clone().numpy() for name, part in parts.items()}


def assert_same(found: Whole, expected: Whole) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert np.array_equal(found[name], value), name


def saved_and_gone_on(ranks: Ranks, root: Path) -> dict[str, tuple[Whole, Whole]]:
    """Of each case what was saved after two steps, and what two more made of it; twice, the second from disk."""
    found = {}
    for case in CASES:
        folder = root / case.name
        small = Small(ranks, case)
        small.train(2)
        small.save(folder)
        before = small.whole()
        small.train(2)
        again = Small(ranks, case)
        again.load(folder)
        assert_same(again.whole(), before)
        again.train(2)
        assert_same(again.whole(), small.whole())
        found[case.name] = (before, small.whole())
    return found


def refused(ranks: Ranks, root: Path) -> list[str]:
    """What a rank says where another one can't write."""
    small = Small(ranks, Case("zero-3", "llama"))
    taken = FileOfPieces("model/model.safetensors", 1).below(root / "taken")
    taken.parent.mkdir(parents=True, exist_ok=True)
    taken.touch()
    with pytest.raises(FileExistsError) as error:
        small.save(root / "taken")
    return [str(error.value)]


def read_as(ranks: Ranks, root: Path, pairs: list[tuple[str, Case]]) -> dict[str, tuple[Whole, Whole]]:
    """What another number of ranks in another layout finds, and what two more steps make of it."""
    found = {}
    for name, case in pairs:
        small = Small(ranks, case)
        small.load(root / name)
        loaded = small.whole()
        small.train(2)
        found[f"{name} as {case.layout}"] = (loaded, small.whole())
    return found


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def written(root: Path) -> dict[str, tuple[Whole, Whole]]:
    by_rank = in_ranks(2, saved_and_gone_on, root)
    return by_rank[0]  # type: ignore[no-any-return]


def test_as_many_ranks_go_on_to_the_same_bits(written: dict[str, tuple[Whole, Whole]]) -> None:
    """The comparison is in `saved_and_gone_on`, on every rank."""
    for before, after in written.values():
        assert any(not np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_any_number_of_ranks_reads_any_layout(size: int, root: Path, written: dict[str, tuple[Whole, Whole]]) -> None:
    pairs = [(case.name, Case(layout, case.architecture)) for case, layout in zip(CASES, READ_AS[size], strict=True)]
    by_rank = [read_as(ALONE, root, pairs)] if size == 1 else in_ranks(size, read_as, root, pairs)
    for found in by_rank:
        for key, (loaded, after) in found.items():
            before, expected = written[key.partition(" as ")[0]]
            assert_same(loaded, before)
            for name, value in expected.items():
                np.testing.assert_allclose(after[name], value, atol=2e-5, rtol=2e-4, err_msg=f"{key}: {name}")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_plain_transformers_loads_what_is_exported(
    case: Case, root: Path, tmp_path: Path, written: dict[str, tuple[Whole, Whole]]
) -> None:
    copy_model(root / case.name, "model", tmp_path / "out")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    before, _ = written[case.name]
    for name, parameter in plain.named_parameters():
        assert np.array_equal(parameter.detach().numpy(), before[name]), name


def test_all_ranks_learn_that_one_cannot_write(root: Path) -> None:
    said = in_ranks(2, refused, root)
    assert said[0] == said[1] and "rank-00001.safetensors" in said[0][0]


def test_all_but_the_weights_of_a_sharded_model_is_as_of_a_whole_one(root: Path, written: object) -> None:
    sharded, whole = (root / name / "model" for name in ("zero-2 llama", "ddp llama"))
    names = {path.name for path in whole.iterdir()} - {"model.safetensors"}
    assert {path.name for path in sharded.iterdir()} == names and "generation_config.json" in names
    assert all((sharded / name).read_bytes() == (whole / name).read_bytes() for name in names)


def test_every_tensor_is_written_once(root: Path, written: dict[str, tuple[Whole, Whole]]) -> None:
    before, _ = written["zero-3 gpt_neox"]
    folder = root / "zero-3 gpt_neox"
    size = sum(path.stat().st_size for path in folder.rglob("rank-*.safetensors"))
    exact = sum(value.nbytes for value in before.values())
    assert exact <= size < 1.5 * exact and not list((folder / "model").glob("*.safetensors"))
    assert sorted(read_index(folder).files) == ["model.optimizer.safetensors", "model/model.safetensors"]
    assert not [path for path in folder.rglob("*") if path.is_file() and path.suffix not in {".safetensors", ".json"}]


def test_the_last_checkpoint_is_read_by_ranks_too(
    root: Path, tmp_path: Path, written: dict[str, tuple[Whole, Whole]]
) -> None:
    import shutil

    shutil.copytree(root / "zero-3 gpt_neox", tmp_path / "zero-3 gpt_neox")
    make_models_whole(tmp_path / "zero-3 gpt_neox")
    pairs = [("zero-3 gpt_neox", Case("zero-3", "gpt_neox"))]
    for found in in_ranks(2, read_as, tmp_path, pairs):
        for pair in found.values():
            for left, right in zip(pair, written["zero-3 gpt_neox"], strict=True):
                assert_same(left, right)
