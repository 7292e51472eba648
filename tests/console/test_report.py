"""The report: what a browser and a reader find in it, hostile text in every field, and costs by hand."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tui"))
from typer.testing import CliRunner

from recorded import BEGAN, HOSTILE, append, write_healthy, write_pipeline, write_record, write_spoiled
from rlhf_console.cli.main import app
from rlhf_console.report.costs import costs_of
from rlhf_console.report.gather import report_of
from rlhf_console.report.html import html
from rlhf_console.report.markdown import markdown
from rlhf_console.report.settings import published_values
from rlhf_console.runs.store import LiveRun, find
from rlhf_sdk.events import Sample, encode_line
from rlhf_sdk.machine_samples import DeviceSample, MachineSample
from rlhf_sdk.run_dir import RunDir


class Page(HTMLParser):
    """What is in a page: its tags, whatever they point to, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attributes if name in ("src", "href", "action", "xlink:href")]
        assert not any(name.startswith("on") for name, _ in attributes)

    def handle_data(self, data: str) -> None:
        self.words += data


def documents(root: Path, run: str) -> tuple[str, str]:
    report = report_of(root, find(root, run).catch_up(), usd_per_gpu_hour=None)
    return html(report), markdown(report)


def test_a_pipelines_report_has_its_stages_curves_and_results(tmp_path: Path) -> None:
    write_pipeline(tmp_path)
    page, text = documents(tmp_path, "demo")
    found = Page(page)
    for words in ("sft: Loss", "ppo: Reward", "Held out", "kl_before_first_update", "Not finished"):
        assert words in found.words
    assert found.tags.count("svg") >= 4
    assert re.search(r"\| ppo: Reward \| points \| reward/score_mean \| 0\.100 \| 0\.100 \| 2\.600 \| 2\.600 \|", text)
    assert "| 0.420 |" in text


def test_a_browser_would_fetch_nothing_and_run_nothing(tmp_path: Path) -> None:
    write_pipeline(tmp_path)
    found = Page(documents(tmp_path, "demo")[0])
    assert all(link.startswith("#") for link in found.links)
    assert not {"script", "link", "iframe", "img", "object"} & set(found.tags)


MARKUP = "<script>alert(1)</script><img src=http://x> | `x` **bold** [a](http://x)"


def test_text_of_a_run_is_no_markup(tmp_path: Path) -> None:
    directory = write_spoiled(tmp_path)
    for index, tag in enumerate(("before", "after")):
        sample = Sample(seq=2 + index, tag=tag, index=0, prompt=MARKUP, response=MARKUP + HOSTILE, reference=MARKUP)
        append(directory, "samples.jsonl", b"\n", encode_line(sample))
    page, text = documents(tmp_path, "ppo-spoiled")
    found = Page(page)
    assert MARKUP in found.words and not {"script", "img"} & set(found.tags)
    assert all(link.startswith("#") for link in found.links)
    for hidden in ("\x1b", "\u202e", "\x07"):
        assert hidden not in page and hidden not in text
    assert not re.search(r"(?<!\\)[<>\[*`|]script|(?<!\\)<img|\[a\]\(", text) and r"\<script\>" in text


def test_samples_are_the_largest_gain_the_middle_and_the_largest_loss(tmp_path: Path) -> None:
    directory = write_record(tmp_path, "eval", plugin="eval")
    gains = {"a": 0.5, "b": -2.0, "c": 3.0, "d": 0.0, "e": 1.0}
    for policy, factor in (("sft", 0.0), ("ppo", 1.0)):
        for index, (prompt, gain) in enumerate(gains.items()):
            sample = Sample(
                tag=f"eval/{policy}/temperature_1", index=index, prompt=prompt, response=f"{policy} on {prompt}",
                metrics={"gold": 1.0 + factor * gain},
            )  # fmt: skip
            append(directory, "samples.jsonl", encode_line(sample))
    text = documents(tmp_path, "eval")[1]
    assert re.findall(r"\*\*prompt\*\* (\w)", text) == ["c", "a", "b"]
    assert "(gold 4)** ppo on c" in text


def machine(at: float, attempt: int = 1, cpu: float = 150.0, watts: float | None = 300.0) -> bytes:
    devices = [
        DeviceSample(index=0, name="gpu", memory_used=1, memory_total=2, process=1, power_watts=watts),
        DeviceSample(index=1, name="others", memory_used=1, memory_total=2, process=0, power_watts=500.0),
    ]
    moment = MachineSample(
        time=BEGAN + at, attempt=attempt, cpu_percent=cpu, memory_available=0, disk_free=0, devices=devices
    )
    return msgspec.json.encode(moment) + b"\n"


def test_costs_by_hand(tmp_path: Path) -> None:
    """Ten seconds of one attempt, then an hour of nothing, then two seconds of another; the second GPU is others'."""
    directory = write_healthy(tmp_path)
    append(directory, "machine.jsonl", machine(0), machine(10), machine(3600, attempt=2), machine(3602, attempt=2))
    found = costs_of(LiveRun.open(RunDir(directory)))
    assert (found.wall, found.gpu) == (12.0, 12.0)
    assert found.cpu == pytest.approx(12 * 1.5)
    assert found.energy == pytest.approx(12 * 300)


def test_energy_is_unknown_where_no_device_tells_its_power(tmp_path: Path) -> None:
    directory = write_healthy(tmp_path)
    append(directory, "machine.jsonl", machine(0, watts=None), machine(1, watts=None))
    assert costs_of(LiveRun.open(RunDir(directory))).energy is None
    assert "energy is not known" in documents(tmp_path, "ppo-healthy")[1]


def test_deviations_from_the_paper_are_those_and_no_others(tmp_path: Path) -> None:
    """The paper's own settings deviate nowhere; one changed key is the one row."""
    names = ["optimizer", "kl_coef", "temperature", "ppo_epochs", "total_episodes", "gamma"]
    published = published_values("ppo", names)
    assert published["kl_coef"] == 0.05 and published["optimizer.lr"] == 3e-6
    config: dict[str, Any] = {}
    for key, value in published.items():
        section, _, name = key.rpartition(".")
        config.setdefault(section, {})[name] = value if section else None
        if not section:
            config[key] = value
    config.pop("", None)
    write_healthy(tmp_path, "same", config=config)
    write_healthy(tmp_path, "changed", config=config | {"kl_coef": 0.2})
    assert "every setting that Huang et al. 2024" in documents(tmp_path, "same")[1]
    text = documents(tmp_path, "changed")[1]
    assert re.findall(r"\| (\S+) \| (\S+) \| (\S+) \|\n\n", text[text.index("where it differs") :])[0] == (
        "kl_coef", "0.200", "0.050",
    )  # fmt: skip


def test_the_command_writes_both_files_and_says_where(tmp_path: Path) -> None:
    write_healthy(tmp_path / "runs")
    said = CliRunner().invoke(
        app, ["report", "ppo-healthy", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out"), "--json"]
    )
    assert said.exit_code == 0
    files = json.loads(said.stdout)
    assert Path(files["html"]).read_text().startswith("<!doctype html>")
    assert Path(files["md"]).read_text().startswith("# ppo-healthy: ppo")
