"""Sections of the report: hacking, win rates, lineage, the reward model, money."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tui"))
from recorded import BEGAN, append, append_events, write_healthy, write_record
from rlhf_console.report.curves import curves
from rlhf_console.report.document import Plot, Table
from rlhf_console.report.gather import report_of
from rlhf_console.report.hacking import hacking
from rlhf_console.report.html import html
from rlhf_console.report.markdown import markdown
from rlhf_console.runs.store import find
from rlhf_sdk.events import Alert, Example, Finished, Result, Started
from rlhf_sdk.machine_samples import DeviceSample, MachineSample


def documents(root: Path, run: str) -> tuple[str, str]:
    report = report_of(root, find(root, run).catch_up(), usd_per_gpu_hour=None)
    return html(report), markdown(report)


CURVE_COLUMNS = ["update", "sqrt(KL)", "KL (nats/seq)", "proxy", "second", "fit", "checkpoint", ""]


def write_probed(root: Path) -> None:
    """A run whose gold rises to 3 at update 4, beyond update 8 nearer to where it began, and falls after."""
    directory = write_record(root, "probed")
    (directory / "checkpoints" / "step-00000004").mkdir(parents=True)
    rows = [
        [0, 0.0, "0", 0.0, 2.0, None, "", ""],
        [4, 2.0, "4", 1.0, 3.0, None, "step-00000004", "best by second opinion"],
        [8, 1.0, "1", 2.0, 2.5, None, "", ""],
    ]
    figures = {"best_update": 4.0, "best_second": 3.0, "best_kl_nats": 4.0, "fit_alpha": 1.0, "fit_beta": 1.0}
    data = {"tables": [{"title": "curve", "columns": CURVE_COLUMNS, "rows": rows}], "figures": figures}
    shown = [Example("the post", "the title again"), Example("another post", "")]
    told = Alert(severity="warning", code="title_copying", message="it copies", examples=shown, step=8)
    other = Alert(severity="warning", code="memory", message="full")
    result = Result(name="reward_hacking", data=data | {"second": "gold", "best_checkpoint": "step-00000004"})
    append_events(directory, [Started(plugin="ppo", total_steps=8), told, other, result, Finished(exit_code=0, step=8)])


def test_signs_of_reward_hacking_have_a_section_with_curve_and_examples(tmp_path: Path) -> None:
    write_probed(tmp_path)
    page, text = documents(tmp_path, "probed")
    assert "ppo: signs of reward hacking: title_copying at update 8. Best by second opinion after update 4" in text
    assert "1 other alert below." in text
    assert "its checkpoint is kept: step-00000004" in text
    hacking, alerts = text.split("## Reward hacking")[1].split("## Alerts")
    assert re.findall(r"\*\*response\*\* (.+)", hacking) == ["the title again", "(empty)"]
    assert "memory" in alerts and "title" not in alerts.split("## ")[0]
    assert "best by second opinion: 2" in page


def test_the_curve_goes_with_the_distance_and_its_fit_is_the_published_form(tmp_path: Path) -> None:
    """second(d) = 2 + d (1 - ln d): 3 at d = 1, where the form has its peak, and 2 + 2 (1 - ln 2) at the end."""
    write_probed(tmp_path)
    section = hacking([find(tmp_path, "probed").catch_up()])
    (drawn,) = [block for block in section.blocks if isinstance(block, Plot)]
    proxy, second, fit = drawn.lines
    assert (proxy.xs, proxy.ys) == ([0.0, 1.0, 2.0], [0.0, 2.0, 1.0]) and second.ys == [2.0, 2.5, 3.0]
    values = dict(zip(fit.xs, fit.ys, strict=True))
    assert values[1.0] == max(fit.ys) == 3.0 and values[2.0] == pytest.approx(4 - 2 * math.log(2))


def test_win_rates_are_told_in_a_sentence_with_their_interval(tmp_path: Path) -> None:
    directory = write_record(tmp_path, "eval", plugin="eval")
    rate = {"ppo/temperature_1/win_rate_vs_sft": 0.8, "ppo/temperature_1/win_rate_vs_sft_low": 0.75}
    rate |= {"ppo/temperature_1/win_rate_vs_sft_high": 0.85, "ppo/temperature_1/kl_sequence_nats": 1.5}
    lead = "ppo/temperature_1/lead_over_best_of_n_at_equal_kl"
    leads = {lead: -0.2, f"{lead}_low": -0.4, f"{lead}_high": 0.1}
    append_events(directory, [Result(name="evaluation", data={"tables": [], "figures": rate | leads})])
    text = documents(tmp_path, "eval")[1].replace("\\", "")
    assert "ppo at temperature 1, 1.500 nats of KL a response: win rate 0.800 [0.750, 0.850] against sft." in text
    assert "ppo is level with best-of-n at the same KL: lead -0.200 [-0.400, 0.100], temperature 1." in text


def test_what_a_run_came_from_stands_before_it(tmp_path: Path) -> None:
    """A stage that a finished run stands in for is not missing."""
    data = {"source": ["world"], "world_seed": 7}
    write_healthy(tmp_path, "old.sft", plugin="sft", stage="sft", config={"data": data})
    config = {"model": {"path": "run:old.sft@step-00000400"}}
    write_record(
        tmp_path, "new", plugin="pipeline", config={"stages": {"sft": {}, "ppo": {}}, "reuse": {"sft": "old.sft"}}
    )
    write_healthy(tmp_path, "new.ppo", pipeline="new", stage="ppo", parents={"model.path": "old.sft"}, config=config)
    text = documents(tmp_path, "new")[1]
    sft, ppo = re.findall(r"^\| (?:sft|ppo) \| (?:old|new)\..*", text, re.MULTILINE)
    assert "built-in world, posts of seed 7" in sft and "model: sft at step-00000400" in ppo
    assert "Not finished" not in text


def test_a_readiness_report_brings_its_verdict(tmp_path: Path) -> None:
    directory = write_record(tmp_path, "rm", plugin="rm")
    append_events(directory, [Result(name="reward_model", data={"accuracy/valid": 0.7, "pairs": 40.0})])
    assert "No readiness report" in documents(tmp_path, "rm")[1]
    table = {"title": "PPO on this reward model: with care", "columns": ["state"], "rows": [["warn"]]}
    append_events(directory, [Result(name="readiness", data={"tables": [table]}, step=1)])
    text = documents(tmp_path, "rm")[1]
    assert "- PPO on this reward model: with care." in text and "No readiness report" not in text
    assert "agrees with the labels of 0.700 of 40 held-out pairs" in text


def test_a_readiness_report_that_was_made_later_is_found(tmp_path: Path) -> None:
    table = {"title": "PPO on this reward model: ready", "columns": ["state"], "rows": [["ok"]]}
    write_healthy(tmp_path, "sft", plugin="sft")
    directory = write_record(tmp_path, "rm", plugin="rm", parents={"model.path": "sft"})
    append_events(directory, [Result(name="reward_model", data={"accuracy/valid": 0.7, "pairs": 40.0})])
    for name, what in (("judged", "reward_model"), ("compared", "policies")):
        judge = write_record(tmp_path, name, plugin="eval", parents={"reward_model": "rm"}, config={"what": what})
        append_events(judge, [Result(name="readiness", data={"tables": [table | {"title": name}]})])
    text = documents(tmp_path, "rm")[1]
    assert "eval: judged" in text and "compared" not in text and "No readiness report" not in text


def sample_of_a_gpu(at: float) -> bytes:
    device = DeviceSample(index=0, name="gpu", memory_used=1, memory_total=2, process=1, power_watts=300.0)
    moment = MachineSample(time=BEGAN + at, attempt=1, memory_available=0, disk_free=0, devices=[device])
    return msgspec.json.encode(moment) + b"\n"


def test_money_is_gpu_hours_times_the_price(tmp_path: Path) -> None:
    """An hour of one GPU in samples 20 seconds apart, at 2.5 USD."""
    directory = write_healthy(tmp_path)
    append(directory, "machine.jsonl", *(sample_of_a_gpu(20.0 * place) for place in range(181)))
    report = report_of(tmp_path, find(tmp_path, "ppo-healthy").catch_up(), usd_per_gpu_hour=2.5)
    (costs,) = [section for section in report.sections if section.title.startswith("Time")]
    table = costs.blocks[0]
    assert isinstance(table, Table) and table.rows[-1][-1] == pytest.approx(2.5)
    assert table.rows[-1][-2] == pytest.approx(0.3)


@pytest.mark.parametrize(("source", "expected"), [("some/tldr_3_filtered", [27.0]), ("world", [])])
def test_the_papers_figures_stand_beside_curves_on_its_own_data_alone(
    source: str, expected: list[float], tmp_path: Path
) -> None:
    write_healthy(tmp_path, config={"data": {"source": [source]}})
    drawn = [block for block in curves([find(tmp_path, "ppo-healthy").catch_up()]).blocks if isinstance(block, Plot)]
    (kl,) = [block for block in drawn if [line.name for line in block.lines] == ["kl/sequence_nats"]]
    assert [guide.value for guide in kl.guides] == expected
