"""What the paired benchmarks compute from their turns; `python -m benchmarks speed` takes the turns."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from transformers import AutoConfig

from benchmarks import record
from benchmarks.speed import kept, peers
from benchmarks.speed.endings import end_responses, hazard
from benchmarks.speed.figures import entry, same_work
from benchmarks.speed.floors import floor_seconds
from benchmarks.speed.material import word_tokenizer
from benchmarks.speed.paired import Measured, median_ratio
from benchmarks.speed.stages import STAGES, TIME, Contender, Stage, Target
from benchmarks.speed.table import comparison_table
from benchmarks.speed.task import SHAPES, Task
from rlhf_engine.config import InitConfig, ModelConfig
from rlhf_engine.models import load_policy

CPU = torch.device("cpu")
PEER = Contender(name="peer", work="nowhere:peer")
OURS = Contender(name="own", work="nowhere:own", against="peer", targets=[Target(ratios={"tiny": 1.7})])
STAGE = Stage(
    name="sft", title="SFT", contenders=[PEER, OURS], models=["tiny"], rounds={"tiny": 3}, same={"loss": 1e-3}
)


def turn(seconds: float, loss: float = 1.0) -> dict[str, Any]:
    cost = {"cpu_seconds": seconds, "wall_seconds": 2 * seconds, "peak_mib": 100.0, "peak_above_rest_mib": 10.0}
    return cost | {"figures": {"loss": loss}}


def measured(peer: list[float], ours: list[float], our_loss: float = 1.0) -> Measured:
    turns = {"peer": [turn(x) for x in peer], "own": [turn(x, our_loss) for x in ours]}
    return Measured(STAGE, SHAPES["tiny"], Path(), rows=8, threads=1, device="cpu", turns=turns)


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    """2, 3 and 10 by hand; that of the medians would be 20 / 6."""
    theirs, ours = [turn(x) for x in (20.0, 18.0, 40.0)], [turn(x) for x in (10.0, 6.0, 4.0)]
    assert median_ratio(theirs, ours, TIME) == 3.0


@pytest.mark.parametrize(("peer", "verdict"), [(1.8, "≥ 1.7×, met"), (1.6, "≥ 1.7×, **not met**")])
def test_a_row_says_whether_its_target_is_met(peer: float, verdict: str) -> None:
    cells = [cell.strip() for cell in comparison_table([entry(measured([peer], [1.0]))])[2].split("|")]
    assert cells[1:3] == ["SFT", "tiny, 8"]
    assert cells[5:9] == [f"{peer:g}", "1", f"{peer:.2f}×", verdict]


def test_a_contender_that_failed_is_said_to_be_not_measured() -> None:
    alone = measured([], [1.0])
    alone.turns.pop("peer")
    alone.failed["peer"] = "can't be installed"
    ours, peer = comparison_table([entry(alone)])[2:4]
    assert "| – | 1 |" in ours
    assert "| peer |" in peer
    assert "not measured" in peer


@pytest.mark.parametrize(("loss", "agrees"), [(1.0009, True), (1.0011, False), (math.nan, False)])
def test_other_losses_are_other_work(loss: float, agrees: bool) -> None:
    assert same_work(entry(measured([1.0], [1.0], loss))) is agrees


def test_a_stage_takes_the_place_of_its_older_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(kept, "RESULTS", tmp_path)
    first, other = entry(measured([2.0], [1.0])), entry(measured([2.0], [1.0])) | {"model": "70m"}
    again = entry(measured([3.0], [1.0]))
    for found in (first, other, again):
        kept.keep(found)
    ratios = {found["model"]: found["contenders"][1]["ratios"][TIME] for found in kept.kept()}
    assert ratios == {"70m": 2.0, "tiny": 3.0}


def test_a_peer_that_cannot_be_installed_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "FOLDER", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(peers.NoPeer, match=r"trl==0\.0\.0 can't be installed: .*trl==0\.0\.0"):
        peers.peer_path("trl==0.0.0")


@pytest.mark.parametrize(("mean", "longest"), [(33.6, 53), (1.5, 4), (10.0, 1000)])
def test_the_hazard_gives_the_mean_length(mean: float, longest: int) -> None:
    """By enumeration: ended at token k, or cut at the longest."""
    ends = hazard(mean, longest)
    expected = sum(k * ends * (1 - ends) ** (k - 1) for k in range(1, longest)) + longest * (1 - ends) ** (longest - 1)
    assert expected == pytest.approx(mean, rel=1e-9)


@pytest.mark.parametrize(("architecture", "tied"), [("llama", False), ("llama", True), ("gpt_neox", False)])
def test_random_weights_end_responses_as_often_as_asked(architecture: Any, tied: bool) -> None:
    torch.manual_seed(0)
    init = InitConfig(architecture=architecture, hidden_size=64, layers=2, heads=4, tie_embeddings=tied)
    policy = load_policy(ModelConfig(init=init), word_tokenizer(128), CPU)
    end_responses(policy, 0, 0.02)
    with torch.no_grad():
        found = policy(torch.randint(3, 128, (8, 32))).logits.softmax(dim=-1)[..., 0].mean()
    assert float(found) == pytest.approx(0.02, rel=0.1)


def test_the_floor_of_log_probabilities_by_hand(tmp_path: Path) -> None:
    """Four products of [8 * 48, 256] with [256, 4096] at 10 GFLOP/s."""
    shape = SHAPES["tiny"]
    sizes = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = AutoConfig.for_model("llama", **sizes, intermediate_size=704, vocab_size=shape.vocabulary)
    config.save_pretrained(tmp_path / "policy")
    task = Task(shape=shape, folder=str(tmp_path), rows=8)
    rates = {"gflops": 10.0, "gflops_bf16": 40.0, "gigabytes": 5.0}
    assert floor_seconds("logprobs-8", task, rates) == pytest.approx(4 * 2 * 8 * 48 * 256 * 4096 / 10e9)
    rough = msgspec.structs.replace(task, precision="bfloat16")
    assert floor_seconds("logprobs-8", rough, rates) == pytest.approx(2 * 8 * 48 * 256 * 4096 / 10e9)


def test_every_contender_is_held_to_one_of_its_stage() -> None:
    for stage in STAGES.values():
        names = [contender.name for contender in stage.contenders]
        assert [one.against for one in stage.contenders if one.against and one.against not in names] == []
        assert set(stage.models) <= set(stage.rounds) & set(SHAPES)


@pytest.mark.slow
def test_a_contender_takes_its_turns() -> None:
    """End to end without a peer."""
    command = [sys.executable, "-m", "benchmarks.speed", "logprobs-8", "--quick", "--rounds", "1"]
    done = subprocess.run([*command, "--contenders", "own"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "log-probabilities, batch 8, tiny, 8 rows" in done.stdout
    assert "CPU s" in done.stdout
