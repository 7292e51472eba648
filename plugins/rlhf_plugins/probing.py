"""The probe in a run: when it is taken, what the run is told of it, what a checkpoint keeps of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from rlhf_engine.collecting import OnlineState
from rlhf_engine.config import ModelConfig, OnlineConfig
from rlhf_engine.data.api import Examples, load_prompts
from rlhf_engine.data.examples import Prompt
from rlhf_engine.data.sources import is_local
from rlhf_engine.errors import ConfigError
from rlhf_engine.hacking.curve import detectors_table
from rlhf_engine.hacking.detectors import Finding
from rlhf_engine.hacking.probe import Gold, Heads, Probe, SecondOpinion
from rlhf_engine.hacking.reading import Reading
from rlhf_engine.hacking.watch import HackingWatch
from rlhf_engine.scalar_models import ScalarModel, load_scalar_model
from rlhf_sdk.checkpoints import checkpoint_name
from rlhf_sdk.events import PROBE_TAG, Example
from rlhf_sdk.trainer import Run

STATE_FILE = "probe.json"


class Probing:
    """The probes of one run; none where `probe.every` is 0.

    A probe is told of when the step after it begins (`begin`), or at the end: what is recorded then has the number of
    updates that its policy had. `under_way`: a checkpoint can't be taken.
    """

    def __init__(self, run: Run, probe: Probe, every: int, updates: int) -> None:
        self._run, self.probe, self._every, self._updates = run, probe, every, updates
        name = probe.second.name if probe.second else ""
        self.watch = HackingWatch(1 + -(-updates // every), name)
        self.findings: list[Finding] = []
        self.under_way = False

    def begin(self, state: OnlineState, config: OnlineConfig) -> None:
        """Before an update: takes the baseline, and tells of the probe of the policy as it is now."""
        if self.watch.baseline is None:
            self._take(state, config)
        self.tell(state.updates_done)

    def after(self, state: OnlineState, config: OnlineConfig) -> dict[str, float]:
        """After an update: the figures of a probe where one is due."""
        if state.updates_done % self._every and state.updates_done < self._updates:
            return {}
        reading = self._take(state, config)
        return reading.metrics() | self.watch.curve.metrics()

    def _take(self, state: OnlineState, config: OnlineConfig) -> Reading:
        self.under_way = True
        with self._run.phase("probe"):
            reading = self.probe.read(state, config, self._run)
        self.findings = self.watch.observe(reading)
        self.under_way = False
        return reading

    def tell(self, updates_done: int) -> None:
        """Samples, alerts and the report, if the newest probe is of this moment."""
        reading = self.watch.newest
        if reading is None or reading.step != updates_done:
            return
        for row, prompt in enumerate(self.probe.prompts):
            self._run.sample(
                tag=PROBE_TAG,
                index=row,
                prompt=prompt.text,
                response=reading.texts[row],
                reference=prompt.reference,
                ended=bool(reading.ended[row]),
                metrics=reading.sample_metrics(row, self.watch.second_name),
            )
        for finding in self.findings:
            self._alert(finding, reading)
        self._run.result("reward_hacking", self.report())

    def _alert(self, finding: Finding, reading: Reading) -> None:
        prompts = self.probe.prompts
        self._run.alert(
            finding.severity,
            finding.code,
            finding.message,
            finding.advice,
            figures={"figure": finding.figure, "threshold": finding.threshold},
            examples=[Example(prompts[row].text, reading.texts[row]) for row in finding.rows],
        )

    def report(self) -> dict[str, Any]:
        """The curve with the checkpoints that there are, and the detectors."""
        watch = self.watch
        if watch.baseline is None or watch.newest is None:
            return {}
        folder = self._run.directory / "checkpoints"
        names = {point.step: checkpoint_name(point.step) for point in watch.curve.points}
        kept = {step: name for step, name in names.items() if (folder / name).is_dir()}
        tables = [watch.curve.table(kept), detectors_table(watch.newest, watch.baseline, watch.trouble)]
        best = watch.curve.best
        report: dict[str, Any] = {"tables": tables, "figures": watch.curve.figures(), "second": watch.second_name}
        return report | {"best_checkpoint": kept.get(best.step, "") if best else ""}

    def save(self, directory: Path) -> None:
        state = self.watch.remembered() | {"findings": [vars(finding) for finding in self.findings]}
        (directory / STATE_FILE).write_text(json.dumps(state))

    def load(self, directory: Path) -> None:
        """A checkpoint of a run without probes has nothing to remember."""
        if (directory / STATE_FILE).exists():
            state = json.loads((directory / STATE_FILE).read_text())
            self.watch.recall(state)
            self.findings = [Finding(**finding) for finding in state["findings"]]


def load_probing(
    run: Run,
    config: OnlineConfig,
    tokenizer: PreTrainedTokenizerBase,
    device: torch.device,
    reward_model: ScalarModel,
    updates: int,
) -> Probing | None:
    """What `config.probe` asks for; raises ConfigError or DataError where it can't be had."""
    if not config.probe.every:
        return None
    prompts = _prompts(config, tokenizer, run)
    second = _second_opinion(config, tokenizer, device, reward_model, list(prompts))
    said = f"second opinion: {second.name}" if second else "no second opinion: probe.reward_model names one"
    run.note(f"probe: {len(prompts)} prompts every {config.probe.every} updates; {said}")
    return Probing(run, Probe(prompts, second, tokenizer), config.probe.every, updates)


def _prompts(config: OnlineConfig, tokenizer: PreTrainedTokenizerBase, run: Run) -> Examples[Prompt]:
    probe = config.probe
    files = [source for source in config.data.source if is_local(source)]
    if files and not probe.data.source:
        raise ConfigError(
            f"probe.data.source: {files[0]!r} is a file, which has no validation split; name a file of held-out prompts"
        )
    prompts = load_prompts(probe.held_out(config.data), tokenizer, hooks=run)
    if len(prompts) < 2:
        raise ConfigError(f"probe.data: {len(prompts)} prompts can be used; at least 2 are needed")
    return prompts


def _second_opinion(
    config: OnlineConfig,
    tokenizer: PreTrainedTokenizerBase,
    device: torch.device,
    reward_model: ScalarModel,
    prompts: list[Prompt],
) -> SecondOpinion | None:
    """The model that is named, else gold, else what is left of the score where the heads disagree, else none."""
    if config.probe.reward_model:
        model = ModelConfig(path=config.probe.reward_model)
        other = load_scalar_model(model, tokenizer, device, key="probe.reward_model").eval().requires_grad_(False)
        return Heads("second reward model", other, config.probe.ensemble_penalty)
    if all("latents" in prompt.record for prompt in prompts):
        return Gold()
    if reward_model.head_shape.count > 1:
        return Heads("penalised score", reward_model, config.probe.ensemble_penalty)
    return None
