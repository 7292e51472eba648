"""Is PPO on a reward model wise: `eval.what = "reward_model"`, a report with a verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_engine.backoff import BackOff
from rlhf_engine.config import EvalConfig, ModelConfig
from rlhf_engine.data.api import load_prompts
from rlhf_engine.data.examples import ComparisonGroup
from rlhf_engine.data.tokenizers import load_tokenizer
from rlhf_engine.errors import ConfigError, DataError
from rlhf_engine.eval.baselines import AccuracyReport, labelled_pairs, rankers_correctness
from rlhf_engine.eval.markdown import bulleted, page
from rlhf_engine.eval.policies import Evaluator, Responses
from rlhf_engine.eval.readiness import Verdict, verdict
from rlhf_engine.eval.reward_report import REFERENCES, SAMPLES, RewardModelReport, ScoredTexts
from rlhf_engine.eval.scored_pairs import ScoredPairs
from rlhf_engine.models import load_policy
from rlhf_engine.reward_modeling import head_scores_by_group
from rlhf_engine.scalar_models import load_scalar_model
from rlhf_plugins.engine_trainer import EngineTrainer
from rlhf_plugins.eval.accuracy import SCORED_GROUPS, Comparisons
from rlhf_plugins.eval.attributions import (
    Attributor,
    Example,
    attributed,
    attribution_table,
    attribution_tables,
    shown,
)
from rlhf_sdk.files import make_private_directory, write_atomically

STATE_FILE = "readiness.json"
PAGE, FIGURES = "readiness.md", "readiness.json"


class ReadinessTrainer(EngineTrainer):
    """Three steps: scores of comparisons, of references and SFT samples, and which words earned a few scores."""

    config: EvalConfig

    def __init__(self) -> None:
        super().__init__()
        self._backoff = BackOff()

    @property
    def backoff(self) -> BackOff:
        return self._backoff

    def prepare(self) -> None:
        self.config = config = self.config.with_named_policies()
        _check(config)
        self.tokenizer = load_tokenizer(config.tokenizer, config.reward_model, tuple)
        self.policy = self.load_policy()
        model = ModelConfig(path=config.reward_model)
        reward_model = load_scalar_model(model, self.tokenizer, self.device, key="reward_model")
        self.reward_model = reward_model.eval().requires_grad_(False)
        self.comparisons = Comparisons(config, self.tokenizer, self.policy, self.run, self.keep_skipped)
        self.total_steps = 3
        self.texts: dict[str, ScoredTexts] = {}
        self.examples: list[Example] = []

    def load_policy(self) -> PreTrainedModel | None:
        """The first of `eval.policies`, where there is one."""
        if not self.config.policies:
            return None
        name, path = next(iter(self.config.policies.items()))
        policy = load_policy(ModelConfig(path=path), self.tokenizer, self.device, key=f"policies.{name}")
        return policy.eval().requires_grad_(False)

    @cached_property
    def groups(self) -> Sequence[ComparisonGroup]:
        """The held-out comparisons; after a resume they are made anew."""
        return self.comparisons.held_out()

    def update(self) -> dict[str, float]:
        return (self.score_comparisons, self.score_texts, self.attribute)[self.steps_done]()

    def score_comparisons(self) -> dict[str, float]:
        """Every head's scores, and the baselines on the same pairs."""

        def score(rows: int) -> list[Tensor]:
            compute = self.config.precision.compute
            return head_scores_by_group(self.reward_model, self.groups, rows, compute=compute, hooks=self.run)

        with self.run.phase("held-out comparisons"):
            head_scores = self.backoff.attempt("held-out comparisons", SCORED_GROUPS, score, self.run)
        gain, _ = self.reward_model.affine
        self.pairs = ScoredPairs.of(self.groups, head_scores, gain=gain, ensemble_penalty=self.config.ensemble_penalty)
        with self.run.phase("baselines"):
            train_pairs = labelled_pairs(self.comparisons.training())
            self.correctness = rankers_correctness(self.pairs.correctness, self.pairs.pairs, train_pairs)
        return {"eval/reward_model_accuracy": float(self.pairs.correctness.mean())}

    def score_texts(self) -> dict[str, float]:
        """References and samples of the SFT policy on posts of their own; nothing without `eval.data`."""
        if not self.config.data.source or self.policy is None:
            self.run.note("no eval.data or no policy: scores of references and of SFT samples are left out")
            return {}
        evaluator = self.evaluator(self.policy)
        if evaluator.has_references:
            self.texts[REFERENCES] = _scored(evaluator.references())
        self.texts[SAMPLES] = _scored(evaluator.responses(self.policy, max(self.config.temperatures)))
        return {"eval/proxy_mean": float(np.mean(self.texts[SAMPLES].scores))}

    def evaluator(self, policy: PreTrainedModel) -> Evaluator:
        config = self.config
        prompts = self.keep_skipped(load_prompts(config.data, self.tokenizer, hooks=self.run), "prompts")
        if not len(prompts):
            raise DataError(f"eval.data: {config.data.source} has no prompt that can be used")
        return Evaluator(
            prompts=prompts,
            tokenizer=self.tokenizer,
            baseline=policy,
            reward_model=self.reward_model,
            ensemble_penalty=config.ensemble_penalty,
            response_tokens=config.response_tokens,
            reference_tokens=config.data.max_response_tokens,
            batch_size=config.batch_size,
            compute=config.precision.compute,
            seed=config.seed,
            hooks=self.run,
            backoff=self._backoff,
        )

    def attribute(self) -> dict[str, float]:
        attributor = Attributor(self.reward_model, self.tokenizer, self.config, self.run)
        with self.run.phase("attribution"):
            self.examples = attributed(self.pairs, self.groups, attributor)
        return {"eval/attributed_responses": float(len(self.examples))}

    def save(self, directory: Path) -> None:
        super().save(directory)
        (directory / STATE_FILE).write_text(json.dumps(self.measured()))

    def measured(self) -> dict[str, Any]:
        """What the steps so far have found out, as JSON."""
        found: dict[str, Any] = {"texts": {name: asdict(texts) for name, texts in self.texts.items()}}
        found["examples"] = [example.plain for example in self.examples]
        if self.steps_done:
            found["pairs"] = self.pairs.plain()
            found["correctness"] = {name: values.tolist() for name, values in self.correctness.items()}
        return found

    def load(self, directory: Path) -> None:
        super().load(directory)
        state = json.loads((directory / STATE_FILE).read_text())
        self.texts = {name: ScoredTexts(**texts) for name, texts in state["texts"].items()}
        self.examples = [Example.from_plain(example) for example in state["examples"]]
        if self.steps_done:
            self.pairs = ScoredPairs.from_plain(state["pairs"])
            self.correctness = {name: np.array(values) for name, values in state["correctness"].items()}

    def finish(self) -> None:
        report = self.report()
        figures, judged = report.figures(), verdict(report.figures())
        tables = [judged.table(), *report.tables()]
        if self.examples:
            tables.append(attribution_table(self.examples))
        self.write(judged, tables, figures)
        self.run.note(f"the whole report: data/{PAGE}, data/{FIGURES}")
        self.run.result("readiness", {"tables": tables, "examples": shown(self.examples), "figures": figures})
        self.show(judged.lights)

    def report(self) -> RewardModelReport:
        config = self.config
        rankers = AccuracyReport(self.pairs.pairs, self.correctness, config.bootstrap, config.seed)
        return RewardModelReport(
            self.pairs, rankers, self.texts, self.reward_model.score_norm, config.bootstrap, config.seed
        )

    def write(self, judged: Verdict, tables: Sequence[dict[str, Any]], figures: dict[str, float]) -> None:
        """The report as a page, and as figures with every word's effect."""
        folder = self.run.directory / "data"
        make_private_directory(folder)
        title = f"PPO on this reward model: {judged.word}"
        whole = page(title, [bulleted(judged.reasons)], [*tables, *attribution_tables(self.examples)])
        write_atomically(folder / PAGE, whole.encode())
        examples = [example.plain for example in self.examples]
        data = {"verdict": judged.word, "reasons": judged.reasons, "figures": figures, "examples": examples}
        write_atomically(folder / FIGURES, json.dumps(data, indent=2).encode())


def _scored(responses: Responses) -> ScoredTexts:
    lengths = [len(text) for text in responses.texts]
    return ScoredTexts(responses.proxy, lengths, responses.ended, responses.gold)


def _check(config: EvalConfig) -> None:
    if not config.reward_model:
        raise ConfigError('eval.reward_model: what = "reward_model" evaluates one; give a directory, hub id, run:ID')
    if not config.comparisons.source:
        raise ConfigError("eval.comparisons: no source; a reward model is judged on held-out comparisons")
