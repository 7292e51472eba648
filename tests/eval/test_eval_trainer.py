"""The whole evaluation with tiny models from scratch in the built-in world."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from transformers import AutoModelForCausalLM

from rlhf_engine.config import CleaningConfig, DataConfig, JudgeConfig
from rlhf_engine.data.world import demonstrations
from rlhf_engine.eval.best_of_n import kl_bound_nats
from rlhf_engine.eval.policies import Evaluator
from rlhf_plugins.eval.costs import training_cpu_seconds
from rlhf_plugins.eval.trainer import EvalTrainer
from rlhf_sdk.machine_samples import MachineSample
from rlhf_sdk.run_dir import RunDir
from rlhf_sdk.run_record import RunRecord
from rlhf_sdk.trainer import UserError
from small_evaluations import ROWS, FakeRun, config_of, evaluated, world_data

LONGER_WINS = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    first = len(asked["first"]) > len(asked["second"])
    print(json.dumps({"index": asked["index"], "choice": "first" if first else "second"}))
"""


@pytest.fixture(scope="module")
def finished(models: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[EvalTrainer, FakeRun]:
    config = config_of(models, comparisons=world_data(8, 6), train_comparisons=world_data(9, 6))
    return evaluated(config, tmp_path_factory.mktemp("run"))


def test_identical_policies_tie_everywhere(finished: tuple[EvalTrainer, FakeRun]) -> None:
    figures = finished[1].results["evaluation"]["figures"]
    for temperature in ("temperature_1", "temperature_0"):
        rates = [figures[f"twin/{temperature}/win_rate_vs_base{end}"] for end in ("", "_low", "_high")]
        assert rates == [0.5, 0.5, 0.5]
        assert figures[f"twin/{temperature}/paired_gain_in_score_std"] == 0.0
    assert figures["twin/temperature_1/kl_sequence_nats"] == 0.0
    assert figures["other/temperature_1/kl_sequence_nats"] > 0.0
    assert "other/temperature_0/kl_sequence_nats" not in figures


def test_win_rate_and_gain_follow_from_the_recorded_samples(finished: tuple[EvalTrainer, FakeRun]) -> None:
    _, run = finished
    metrics = {
        name: [sample["metrics"] for sample in run.samples if sample["tag"] == f"eval/{name}/temperature_1"]
        for name in ("base", "other")
    }
    points = [
        1.0 if other["gold"] > base["gold"] else 0.5 if other["gold"] == base["gold"] else 0.0
        for base, other in zip(metrics["base"], metrics["other"], strict=True)
    ]
    base_scores = torch.tensor([row["score"] for row in metrics["base"]], dtype=torch.float64)
    other_scores = torch.tensor([row["score"] for row in metrics["other"]], dtype=torch.float64)
    gain = float((other_scores - base_scores).mean() / base_scores.std(correction=0))
    figures = run.results["evaluation"]["figures"]
    assert figures["other/temperature_1/win_rate_vs_base"] == pytest.approx(sum(points) / ROWS)
    assert figures["other/temperature_1/paired_gain_in_score_std"] == pytest.approx(gain)


def test_kl_agrees_with_plain_transformers(finished: tuple[EvalTrainer, FakeRun], models: Path) -> None:
    trainer, run = finished
    rollout = trainer.evaluator.sampled(trainer.line_up.model("other"), 1.0)
    prompt, mask = rollout.prompt_tokens[0][rollout.prompt_mask[0]], rollout.response_mask[0]
    tokens = torch.cat([prompt, rollout.response_tokens[0][mask]])
    totals = []
    for name in ("second", "first"):
        with torch.no_grad():
            logits = AutoModelForCausalLM.from_pretrained(models / name)(tokens[None]).logits[0, len(prompt) - 1 : -1]
        totals.append(float(logits.log_softmax(-1).gather(1, tokens[len(prompt) :, None]).sum()))
    sample = next(sample for sample in run.samples if sample["tag"] == "eval/other/temperature_1")
    assert sample["metrics"]["kl/sequence_nats"] == pytest.approx(totals[0] - totals[1], abs=1e-3)


def test_tables_have_a_row_for_each_policy_and_the_references(finished: tuple[EvalTrainer, FakeRun]) -> None:
    data = finished[1].results["evaluation"]
    assert [table["title"] for table in data["tables"][:2]] == ["Temperature 1", "Temperature 0, greedy"]
    first, greedy, text, cost, accuracy = data["tables"]
    assert [row[0] for row in cost["rows"]] == ["base", "twin", "other"]
    assert [row[0] for row in first["rows"]] == ["base", "twin", "other", "reference"]
    assert all(len(row) == len(table["columns"]) for table in data["tables"] for row in table["rows"])
    assert "KL (nats/seq)" in first["columns"]
    assert "KL (nats/seq)" not in greedy["columns"]
    assert first["rows"][3][first["columns"].index("ROUGE-L")] is None
    assert [row[0] for row in accuracy["rows"]] == ["reward model", "longer wins", "shorter wins", "TF-IDF"]
    assert [row[0] for row in text["rows"]] == [
        *(f"{policy}, T = {temperature}" for temperature in (1, 0) for policy in ("base", "twin", "other")),
        "reference",
    ]
    of_words = dict(zip(text["columns"], text["rows"][-1], strict=True))
    assert of_words["ROUGE-1"] is None and 0 < of_words["coverage"] <= 1 and of_words["distinct-2"] > 0
    assert set(data["examples"][0]["responses"]) == {"base", "twin", "other"}


def test_a_stopped_evaluation_goes_on_to_the_same_result(models: Path, tmp_path: Path) -> None:
    config = config_of(models, temperatures=[1.0], comparisons=world_data(8, 4))
    _, whole = evaluated(config, tmp_path)
    stopped, resumed = EvalTrainer(), EvalTrainer()
    stopped.setup(FakeRun(config, tmp_path / "stopped"))  # type: ignore[arg-type]
    for _ in ("base", "its cost", "twin", "its cost"):
        stopped.step()
    stopped.save(tmp_path)
    run = FakeRun(config, tmp_path / "stopped")
    resumed.setup(run)  # type: ignore[arg-type]
    resumed.load(tmp_path)
    while resumed.step() is not None:
        pass
    resumed.finish()
    assert {sample["tag"] for sample in run.samples} == {"eval/other/temperature_1"}
    assert without_seconds(run.results) == without_seconds(whole.results)


def without_seconds(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """All that two equal evaluations agree on."""
    data = results["evaluation"]
    tables = [
        [
            [cell for column, cell in zip(table["columns"], row, strict=True) if "CPU s" not in column]
            for row in table["rows"]
        ]
        for table in data["tables"]
    ]
    figures = {name: value for name, value in data["figures"].items() if "cpu_seconds" not in name}
    return data | {"tables": tables, "figures": figures}


def test_the_best_of_n_is_the_sample_with_the_highest_score(models: Path, tmp_path: Path) -> None:
    policies = {"base": str(models / "first"), "other": str(models / "second")}
    trainer, run = evaluated(config_of(models, policies=policies, best_of=[3]), tmp_path)
    samples = trainer.evaluator.sampled(trainer.line_up.model("base"), 1.0, each=3)
    scores = torch.tensor(trainer.evaluator.proxy_scores(samples)).view(3, ROWS)
    chosen = [sample for sample in run.samples if sample["tag"] == "eval/base_best_of_3/temperature_1"]
    first = [sample for sample in run.samples if sample["tag"] == "eval/base/temperature_1"]
    best = torch.tensor([sample["metrics"]["score"] for sample in chosen])
    torch.testing.assert_close(best, scores.amax(dim=0), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        torch.tensor([sample["metrics"]["score"] for sample in first]), scores[0], atol=1e-5, rtol=0
    )
    assert not any(sample["tag"] == "eval/base_best_of_3/temperature_0" for sample in run.samples)


def test_best_of_n_shows_a_bound_of_its_kl_and_what_its_sampling_costs(models: Path, tmp_path: Path) -> None:
    policies = {"base": str(models / "first")}
    _, run = evaluated(config_of(models, policies=policies, best_of=[8], temperatures=[1.0]), tmp_path)
    table, figures = run.results["evaluation"]["tables"][0], run.results["evaluation"]["figures"]
    row = dict(zip(table["columns"], table["rows"][1], strict=True))
    assert row["policy"] == "base_best_of_8"
    assert row["KL (nats/seq)"] == "<= 1.2"
    assert figures["base_best_of_8/temperature_1/kl_sequence_nats_bound"] == pytest.approx(1.2044, abs=1e-4)
    name = "temperature_1/sampling_cpu_seconds_per_100"
    assert figures[f"base_best_of_8/{name}"] > 2 * figures[f"base/{name}"]
    assert figures["base_best_of_8/temperature_1/win_rate_vs_base_low"] <= 1.0


def test_a_policy_stands_beside_best_of_n_at_its_own_kl(models: Path, tmp_path: Path) -> None:
    """A policy that is the baseline itself has no KL, and leads over one sample of it by its own luck alone."""
    policies = {"base": str(models / "first"), "same": str(models / "first"), "other": str(models / "second")}
    trainer, run = evaluated(config_of(models, policies=policies, best_of=[3], temperatures=[1.0]), tmp_path)
    (table,) = (each for each in run.results["evaluation"]["tables"] if each["title"].startswith("At equal KL"))
    rows = {row[0]: dict(zip(table["columns"], row, strict=True)) for row in table["rows"]}
    base, best = trainer.responses_at(1.0)["base"], trainer.responses_at(1.0)["base_best_of_3"]
    assert set(rows) == {"same", "other"} and rows["same"]["KL (nats/seq)"] == 0.0
    one = sum(by_n[0] for by_n in best.gains_by_n) / ROWS
    assert rows["same"]["gold of best-of-n at that KL"] == pytest.approx(one)
    lead = run.results["evaluation"]["figures"]["same/temperature_1/lead_over_best_of_n_at_equal_kl"]
    assert lead == pytest.approx(sum(base.gold) / ROWS - one)
    most = sum(by_n[-1] for by_n in best.gains_by_n) / ROWS
    assert rows["other"]["KL (nats/seq)"] > kl_bound_nats(3), "two sets of random weights are far apart"
    assert rows["other"]["gold of best-of-n at that KL"] == f"{most:.3f} at 0.43, the largest n"
    assert rows["other"]["lead"] is None


def test_training_cost_counts_each_run_of_the_lineage_once(tmp_path: Path) -> None:
    parents = {"sft": {}, "rm": {"model": "sft"}, "ppo": {"model": "sft", "reward_model": "rm"}}
    for name, above in parents.items():
        run = RunDir(tmp_path / name)
        run.path.mkdir()
        record = RunRecord(id=name, name=name, plugin=name, config={}, parents=above, created=0.0)
        run.record_file.write_bytes(msgspec.json.encode(record))
        times = [(0.0, 1), (10.0, 1), (100.0, 2), (110.0, 2)]
        samples = [
            MachineSample(time=time, attempt=attempt, cpu_percent=50.0, memory_available=0, disk_free=0)
            for time, attempt in times
        ]
        run.machine_file.write_bytes(b"\n".join(map(msgspec.json.encode, samples)) + b"\n")
    seconds = {name: training_cpu_seconds([str(tmp_path / name / "checkpoints" / "1" / "model")]) for name in parents}
    assert seconds == {"sft": 10.0, "rm": 20.0, "ppo": 30.0}
    assert training_cpu_seconds(["gpt2"]) is None


def test_without_a_reward_model_gold_is_reported_alone(models: Path, tmp_path: Path) -> None:
    policies = {"base": str(models / "first")}
    _, run = evaluated(config_of(models, policies=policies, reward_model="", temperatures=[0.7]), tmp_path)
    columns = run.results["evaluation"]["tables"][0]["columns"]
    assert "gold" in columns
    assert "proxy" not in columns
    assert "gold win rate vs base" in columns


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policies": {}}, "at least one"),
        ({"temperatures": [1.0, 1.0]}, "different numbers"),
        ({"temperatures": [-1.0]}, "0 \\(greedy\\) or above"),
        ({"reward_model": "", "comparisons": world_data(8)}, "set eval.reward_model"),
        ({"reward_model": "", "best_of": [4]}, "set eval.reward_model"),
    ],
)
def test_mistakes_are_named_before_anything_is_loaded(
    models: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        EvalTrainer().setup(FakeRun(config_of(models, **changes), tmp_path))  # type: ignore[arg-type]


def test_a_program_judges_the_policies_and_a_stopped_run_asks_only_the_rest(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLHF_JUDGE_PROGRAMS", "allow")
    judge = JudgeConfig(kind="command", command=[sys.executable, "-c", LONGER_WINS])
    config = config_of(models, temperatures=[1.0], judge=judge)
    trainer, run = evaluated(config, tmp_path)
    figures = run.results["evaluation"]["figures"]
    base, other = (trainer.finished[f"{name}/temperature_1"].texts for name in ("base", "other"))
    credits = [(len(o) > len(b)) + (len(o) == len(b)) / 2 for b, o in zip(base, other, strict=True)]
    assert figures["judge/other/temperature_1/win_rate_vs_base"] == pytest.approx(sum(credits) / ROWS)
    assert figures["judge/twin/temperature_1/win_rate_vs_base"] == 0.5
    assert run.alerts == []
    file = tmp_path / "run" / "data" / "verdicts.jsonl"
    verdicts = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(verdicts[:-3]) + b'{"prompt": "half a li')
    _, again = evaluated(config, tmp_path)
    assert without_seconds(again.results) == without_seconds(run.results)
    assert sorted((tmp_path / "run" / "data" / "verdicts.jsonl").read_bytes().splitlines(keepends=True)) == sorted(
        verdicts
    )


def test_what_was_sampled_is_sampled_once(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before any checkpoint, an evaluation goes on with the texts that it had."""
    config = config_of(models, temperatures=[1.0])
    _, whole = evaluated(config, tmp_path)

    def sample_again(*_: Any) -> None:
        raise AssertionError("sampled again")

    monkeypatch.setattr(Evaluator, "responses", sample_again)
    _, again = evaluated(config, tmp_path)
    assert again.results == whole.results
    assert again.samples == whole.samples


def test_a_judge_that_fails_is_a_warning_beside_the_figures(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLHF_JUDGE_PROGRAMS", "allow")
    judge = JudgeConfig(kind="command", command=["no-such-judge"])
    _, run = evaluated(config_of(models, temperatures=[1.0], judge=judge), tmp_path)
    assert run.alerts == ["no-such-judge can't be started: No such file or directory"]
    assert run.results["evaluation"]["figures"]["judge/answers"] == 0


def test_posts_that_come_again_are_a_warning_and_empty_sets_name_their_key(models: Path, tmp_path: Path) -> None:
    file, empty = tmp_path / "posts.jsonl", tmp_path / "empty.jsonl"
    rows = list(demonstrations(3, seed=5))
    file.write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[0]]))
    empty.write_text("")
    cleaning = CleaningConfig(duplicates=False)
    data = DataConfig(source=[str(file)], cleaning=cleaning, max_prompt_tokens=200)
    _, run = evaluated(config_of(models, policies={"base": str(models / "first")}, data=data), tmp_path)
    assert run.alerts[0].startswith("eval.data: 1 of 4 prompts are on a post that came before")
    for key in ("data", "second_task", "people", "comparisons"):
        changed = config_of(models, **{key: DataConfig(source=[str(empty)])})
        with pytest.raises(UserError, match=rf"^eval\.{key}: .*empty\.jsonl' is empty"):
            EvalTrainer().setup(FakeRun(changed, tmp_path / "run"))  # type: ignore[arg-type]


def test_a_policy_with_another_tokenizer_is_refused_by_name(models: Path, tmp_path: Path) -> None:
    """Two tokens that change places: weights fit, and every response would be nonsense."""
    for file in (models / "second").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    one, other = list(vocabulary)[300:302]
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = config_of(models, policies={"base": str(models / "first"), "other": str(tmp_path)})
    with pytest.raises(UserError, match=r"eval\.policies\.other: .* has another tokenizer: .* token by token"):
        EvalTrainer().setup(FakeRun(config, tmp_path / "run"))  # type: ignore[arg-type]
