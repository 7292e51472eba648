"""Evaluation as a run: one step for each policy and temperature, tables at the end."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

from transformers import PreTrainedModel

from rlhf_engine.backoff import BackOff
from rlhf_engine.config import EvalConfig, ModelConfig
from rlhf_engine.data.api import load_prompts
from rlhf_engine.data.tokenizers import load_tokenizer
from rlhf_engine.errors import ConfigError, DataError
from rlhf_engine.eval.equal_kl import EqualKL
from rlhf_engine.eval.overoptimisation import curves_figures, curves_table
from rlhf_engine.eval.policies import Evaluator, Responses, post_of
from rlhf_engine.eval.table import REFERENCE, Comparison, Resampling, examples, means, text_table
from rlhf_engine.models import load_policy
from rlhf_engine.scalar_models import ScalarModel, load_scalar_model
from rlhf_plugins.engine_trainer import EngineTrainer
from rlhf_plugins.eval.accuracy import accuracy_report
from rlhf_plugins.eval.costs import training_cpu_seconds
from rlhf_plugins.eval.curves import read_curve
from rlhf_plugins.eval.judging import judged_report, matches_of, score_judge
from rlhf_plugins.eval.kept_responses import kept
from rlhf_plugins.judges.choice import judge_of

STATE_FILE = "evaluation.json"

Report = dict[str, Any]


def pair_name(policy: str, temperature: float) -> str:
    """A (policy, temperature) pair in tags and in the checkpoint."""
    return f"{policy}/temperature_{temperature:g}"


class EvalTrainer(EngineTrainer):
    """Samples of every policy to the same prompts with the same noise; a stopped evaluation goes on where it was."""

    config: EvalConfig

    def prepare(self) -> None:
        self.config = config = self.config.with_named_policies()
        _check(config)
        self.judge = judge_of(config.judge, run=self.run.directory, hooks=self.run)
        self.baseline_name = next(iter(config.policies))
        baseline_path = config.policies[self.baseline_name]
        self.tokenizer = load_tokenizer(config.tokenizer, baseline_path, tuple)
        self.prompts = self.keep_skipped(load_prompts(config.data, self.tokenizer, hooks=self.run), "prompts")
        if not len(self.prompts):
            raise DataError(f"eval.data: {config.data.source} has no prompt that can be used")
        self.loaded: dict[str, PreTrainedModel] = {}
        self.evaluator = Evaluator(
            prompts=self.prompts,
            tokenizer=self.tokenizer,
            baseline=self.load_policy(self.baseline_name),
            reward_model=self.load_reward_model(),
            ensemble_penalty=config.ensemble_penalty,
            response_tokens=config.response_tokens,
            reference_tokens=config.data.max_response_tokens,
            batch_size=config.batch_size,
            compute=config.precision.compute,
            seed=config.seed,
            hooks=self.run,
        )
        self.pairs = [
            (policy, temperature)
            for policy in self.policies_at(max(config.temperatures))
            for temperature in config.temperatures
            if policy in self.policies_at(temperature)
        ]
        judged = config.judge.kind != "none"
        self.total_steps = len(self.pairs) + bool(config.comparisons.source) + judged
        self.finished: dict[str, Responses] = {}
        self.accuracy: Report | None = None
        self.judged: Report | None = None
        self.curves = {name: read_curve(name, model) for name, model in config.curves.items()}

    @property
    def backoff(self) -> BackOff:
        return self.evaluator.backoff

    @property
    def best_of_name(self) -> str:
        return f"{self.baseline_name}_best_of_{self.config.best_of}"

    def policies_at(self, temperature: float) -> list[str]:
        """In the table's order; n greedy samples are one, so best-of-n has no row at temperature 0."""
        first, *others = self.config.policies
        best = [self.best_of_name] if self.config.best_of and temperature > 0 else []
        return [first, *best, *others]

    def load_policy(self, name: str) -> PreTrainedModel:
        model = ModelConfig(path=self.config.policies[name])
        policy = load_policy(model, self.tokenizer, self.device, key=f"policies.{name}")
        return policy.eval().requires_grad_(False)

    def load_reward_model(self) -> ScalarModel | None:
        if not self.config.reward_model:
            return None
        model = ModelConfig(path=self.config.reward_model)
        reward_model = load_scalar_model(model, self.tokenizer, self.device, key="reward_model")
        return reward_model.eval().requires_grad_(False)

    def policy(self, name: str) -> PreTrainedModel:
        """The policy `name`; only the baseline and one other are in memory at a time."""
        if name == self.baseline_name:
            return self.evaluator.baseline
        if name not in self.loaded:
            self.loaded.clear()
            self.loaded[name] = self.load_policy(name)
        return self.loaded[name]

    def update(self) -> dict[str, float]:
        """One (policy, temperature) pair; then the reward model's accuracy; at last what the judge says."""
        if self.steps_done == len(self.pairs) and self.config.comparisons.source:
            return self.measure_reward_model()
        if self.steps_done >= len(self.pairs):
            return self.ask_judge()
        policy, temperature = self.pairs[self.steps_done]
        sample = partial(self.sampled, policy, temperature)
        responses = kept(self.run.directory / "data", self.steps_done, sample)
        self.finished[pair_name(policy, temperature)] = responses
        self.record_samples(f"eval/{pair_name(policy, temperature)}", responses)
        return {f"eval/{name}": value for name, value in means(responses).items()}

    def sampled(self, policy: str, temperature: float) -> Responses:
        if policy == self.best_of_name:
            return self.evaluator.best_of(self.config.best_of, temperature)
        return self.evaluator.responses(self.policy(policy), temperature)

    def measure_reward_model(self) -> dict[str, float]:
        reward_model = cast(ScalarModel, self.evaluator.reward_model)
        report = accuracy_report(reward_model, self.evaluator, self.config, self.keep_skipped)
        self.accuracy = {"table": report.table(), "figures": report.figures()}
        return {"eval/reward_model_accuracy": report.figures()["reward_model/accuracy"]}

    def ask_judge(self) -> dict[str, float]:
        """A judge that stops early leaves a warning and what it has answered."""
        matches = matches_of(self.comparisons())
        prompts = [prompt.text for prompt in self.prompts]
        judge = self.judge or score_judge(prompts, matches)
        with self.run.phase("judge"):
            self.judged = judged_report(judge, prompts, matches, self.run.directory / "data", self.run)
        for problem in self.judged["problems"]:
            self.run.alert("warning", "judge", problem)
        return {f"eval/{name}": value for name, value in self.judged["figures"].items() if name.count("/") == 1}

    def record_samples(self, tag: str, responses: Responses) -> None:
        scores = {"score": responses.proxy, "gold": responses.gold, "kl/sequence_nats": responses.kl_nats}
        for row, prompt in enumerate(self.prompts):
            metrics = {name: values[row] for name, values in scores.items() if values}
            self.run.sample(
                tag=tag,
                index=row,
                prompt=prompt.text,
                response=responses.texts[row],
                reference=prompt.reference,
                ended=responses.ended[row],
                metrics=metrics | {"response_tokens": float(responses.tokens[row])},
            )

    def save(self, directory: Path) -> None:
        super().save(directory)
        finished = {name: asdict(responses) for name, responses in self.finished.items()}
        state = {"finished": finished, "accuracy": self.accuracy, "judged": self.judged}
        (directory / STATE_FILE).write_text(json.dumps(state))

    def load(self, directory: Path) -> None:
        super().load(directory)
        state = json.loads((directory / STATE_FILE).read_text())
        self.finished = {name: Responses(**fields) for name, fields in state["finished"].items()}
        self.accuracy = state["accuracy"]
        self.judged = state.get("judged")

    def finish(self) -> None:
        with self.guarded():
            self.run.result("evaluation", self.evaluation())

    def evaluation(self) -> dict[str, Any]:
        """Tables, examples and figures by name."""
        comparisons = self.comparisons()
        tables = [*(comparison.table() for comparison in comparisons), text_table(comparisons)]
        figures = {name: value for comparison in comparisons for name, value in comparison.figures().items()}
        for at_equal_kl in (EqualKL(comparison) for comparison in comparisons if comparison.temperature == 1):
            tables += at_equal_kl.tables()
            figures |= at_equal_kl.figures()
        if self.accuracy is not None:
            tables.append(self.accuracy["table"])
            figures |= self.accuracy["figures"]
        if self.judged is not None:
            tables += self.judged["tables"]
            figures |= self.judged["figures"]
        if self.curves:
            tables.append(curves_table(self.curves))
            figures |= curves_figures(self.curves)
        shown = examples(self.prompts, comparisons[0].policies, self.config.example_count)
        return {"tables": tables, "examples": shown, "figures": figures}

    def comparisons(self) -> list[Comparison]:
        """One for each temperature."""
        posts = [post_of(prompt) for prompt in self.prompts]
        resampling = Resampling(posts, self.config.bootstrap, self.config.seed)
        return [
            Comparison(temperature, self.responses_at(temperature), self.references, resampling, self.costs())
            for temperature in self.config.temperatures
        ]

    @cached_property
    def references(self) -> Responses | None:
        """Measured once; None where some prompt has none."""
        if self.evaluator.has_references:
            return self.evaluator.references()
        self.run.note("prompts: not all of them have a reference, so nothing is compared with references")
        return None

    def responses_at(self, temperature: float) -> dict[str, Responses]:
        return {policy: self.finished[pair_name(policy, temperature)] for policy in self.policies_at(temperature)}

    def costs(self) -> dict[str, float]:
        """CPU seconds of training by policy, of those that runs here have made."""
        models = {name: [path] for name, path in self.config.policies.items()}
        models[self.best_of_name] = [self.config.policies[self.baseline_name], self.config.reward_model]
        seconds = {name: training_cpu_seconds(paths) for name, paths in models.items()}
        return {name: value for name, value in seconds.items() if value}


def _check(config: EvalConfig) -> None:
    if not config.policies:
        raise ConfigError("eval.policies: none given; name at least one, the first is the baseline")
    if config.comparisons.source and not config.reward_model:
        raise ConfigError("eval.comparisons: they measure a reward model; set eval.reward_model too")
    if config.best_of and not config.reward_model:
        raise ConfigError("eval.best_of: a reward model picks the best; set eval.reward_model too")
    if REFERENCE in config.policies:
        raise ConfigError(f"eval.policies: {REFERENCE!r} stands for the references; give that policy another name")
    if (
        not config.temperatures
        or min(config.temperatures) < 0
        or len(set(config.temperatures)) < len(config.temperatures)
    ):
        raise ConfigError(f"eval.temperatures: {config.temperatures}; allowed: different numbers, 0 (greedy) or above")
