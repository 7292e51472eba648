"""What alignment costs, against plain transformers, a uniform model, and figures by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlhf_engine.config import DataConfig
from rlhf_engine.eval.alignment_cost import OnTask, Task, cost_table
from rlhf_engine.eval.intervals import mean_interval, ratio_interval
from rlhf_engine.eval.table import Resampling
from rlhf_engine.eval.text_metrics import rouge_l
from rlhf_engine.models import save_model
from rlhf_plugins.eval.trainer import EvalTrainer
from rlhf_sdk.trainer import UserError
from small_evaluations import FakeRun, config_of, evaluated, world_data

PAPERS = [
    {"paper_id": "a", "title": "on cats", "abstract": "we study cats .", "summaries": ["cats", "a study of cats", "c"]},
    {"paper_id": "b", "title": "on dogs", "abstract": "we study dogs .", "summaries": ["a study of dogs"]},
]


def nats_by_hand(model: Path, prompt: list[int], response: list[int]) -> float:
    tokens = torch.tensor([[*prompt, *response]])
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(model)(tokens).logits[0, len(prompt) - 1 : -1]
    return -float(logits.log_softmax(-1).gather(1, torch.tensor(response)[:, None]).sum())


def test_nll_is_that_of_plain_transformers_over_all_tokens(models: Path, tmp_path: Path) -> None:
    policies = {"sft": str(models / "first"), "ppo": str(models / "second")}
    trainer, run = evaluated(config_of(models, policies=policies, data=world_data(7, 3), temperatures=[0.0]), tmp_path)
    tokenizer, nats, tokens = trainer.tokenizer, {"first": 0.0, "second": 0.0}, 0
    for prompt in trainer.prompts:
        response = tokenizer(f" {prompt.reference}", add_special_tokens=False)["input_ids"]
        response = [*response, tokenizer.eos_token_id][:24]
        tokens += len(response)
        for name in nats:
            nats[name] += nats_by_hand(models / name, prompt.tokens, response)
    figures = run.results["evaluation"]["figures"]
    assert figures["sft/cost/held_out_nats_per_token"] == pytest.approx(nats["first"] / tokens, rel=1e-5)
    rise = (nats["second"] - nats["first"]) / tokens
    assert figures["ppo/cost/held_out_nats_per_token_less_sft"] == pytest.approx(rise, abs=1e-5)
    assert "sft/cost/held_out_nats_per_token_less_sft" not in figures


def test_a_uniform_policy_costs_the_logarithm_of_the_vocabulary(models: Path, tmp_path: Path) -> None:
    uniform = AutoModelForCausalLM.from_pretrained(models / "first")
    uniform.get_output_embeddings().weight.data.zero_()
    save_model(uniform, AutoTokenizer.from_pretrained(models / "first"), tmp_path / "flat")
    policies = {"sft": str(models / "first"), "flat": str(tmp_path / "flat")}
    _, run = evaluated(config_of(models, policies=policies, data=world_data(7, 3), temperatures=[0.0]), tmp_path)
    found = run.results["evaluation"]["figures"]["flat/cost/held_out_nats_per_token"]
    assert found == pytest.approx(math.log(uniform.config.vocab_size), rel=1e-5)


def test_the_interval_of_a_ratio_resamples_posts_with_their_tokens() -> None:
    """Of two posts there are four resamples; sizes of 1 make it that of a mean."""
    nats, tokens = [1.0, 1.0, 9.0], [10.0, 10.0, 30.0]
    found = ratio_interval(nats, tokens, ["a", "a", "b"], resamples=2000, seed=0)
    assert (found.mean, found.low, found.high) == pytest.approx((11 / 50, 2 / 20, 9 / 30))
    values, posts = np.random.default_rng(1).normal(size=40), [row // 2 for row in range(40)]
    ratio = ratio_interval(values, np.ones(40), posts, resamples=300, seed=3)
    assert ratio == mean_interval(values, posts, resamples=300, seed=3)


def task(**nats: list[float]) -> Task:
    outcomes = {name: OnTask(values, [2] * len(values)) for name, values in nats.items()}
    return Task("held_out", "held-out", outcomes, Resampling(list("abcdefgh"), 400, 0))


def test_differences_are_paired() -> None:
    """A rise that is the same for every reference has no spread, however different the references are."""
    base = [1.0, 9.0, 4.0, 2.0, 30.0, 5.0, 7.0, 3.0]
    found = task(sft=base, ppo=[value + 0.5 for value in base])
    rise = found.rise_in_nll("ppo")
    assert rise is not None and (rise.mean, rise.low, rise.high) == pytest.approx((0.25, 0.25, 0.25))
    table = cost_table([found])
    assert table["columns"] == ["policy", "held-out NLL", "NLL less sft's, held-out"]
    assert [row[0] for row in table["rows"]] == ["sft", "ppo"] and table["rows"][0][2] is None


@pytest.fixture
def papers(tmp_path: Path) -> DataConfig:
    file = tmp_path / "papers.jsonl"
    file.write_text("".join(json.dumps(paper) + "\n" for paper in PAPERS))
    return DataConfig(source=[str(file)], template="post", max_response_tokens=24)


def test_the_second_task_is_read_and_sampled(models: Path, papers: DataConfig, tmp_path: Path) -> None:
    policies = {"sft": str(models / "first"), "ppo": str(models / "second")}
    config = config_of(models, policies=policies, data=world_data(7, 3), second_task=papers, temperatures=[0.0])
    trainer, run = evaluated(config, tmp_path)
    prompts = trainer.cost.evaluators["second_task"].prompts
    assert prompts[0].text == "TITLE: on cats\n\nPOST: we study cats .\n\nTL;DR:"
    assert prompts[0].reference == "cats"
    samples = [sample for sample in run.samples if sample["tag"] == "second_task/ppo/temperature_0"]
    closest = [max(rouge_l(ref, s["response"]) for ref in p["summaries"]) for s, p in zip(samples, PAPERS, strict=True)]
    figures = run.results["evaluation"]["figures"]
    assert figures["ppo/cost/second_task_rouge_l"] == pytest.approx(sum(closest) / 2)
    (table,) = (t for t in run.results["evaluation"]["tables"] if t["title"].startswith("Cost of alignment"))
    assert len(table["columns"]) == 7 and all(len(row) == 7 for row in table["rows"])


def test_without_references_nothing_is_said_of_the_cost(models: Path, papers: DataConfig, tmp_path: Path) -> None:
    bare = tmp_path / "bare.jsonl"
    bare.write_text(json.dumps({"title": "on cats", "post": "we study cats ."}) + "\n")
    data: Any = DataConfig(source=[str(bare)], template="post")
    _, run = evaluated(config_of(models, data=data, temperatures=[0.0]), tmp_path)
    assert not any(table["title"].startswith("Cost") for table in run.results["evaluation"]["tables"])
    with pytest.raises(UserError, match=r"eval\.second_task: no row of .* has a reference"):
        EvalTrainer().setup(FakeRun(config_of(models, second_task=data), tmp_path / "run"))  # type: ignore[arg-type]
