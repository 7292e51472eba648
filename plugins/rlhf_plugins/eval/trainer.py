"""Evaluation as a run: one step for each policy and temperature, tables at the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

from transformers import PreTrainedModel

from rlhf_engine.backoff import BackOff
from rlhf_engine.config import EvalConfig, ModelConfig
from rlhf_engine.data.examples import Prompt
from rlhf_engine.data.tokenizers import load_tokenizer
from rlhf_engine.errors import ConfigError
from rlhf_engine.eval.equal_kl import EqualKL
from rlhf_engine.eval.overoptimisation import curves_figures, curves_table
from rlhf_engine.eval.policies import Evaluator, Responses, post_of
from rlhf_engine.eval.table import Comparison, Resampling, examples, means, text_table
from rlhf_engine.models import load_policy
from rlhf_engine.scalar_models import ScalarModel, load_scalar_model
from rlhf_plugins.engine_trainer import EngineTrainer
from rlhf_plugins.eval.accuracy import accuracy_report
from rlhf_plugins.eval.alignment import SECOND, CostOfAlignment
from rlhf_plugins.eval.curves import read_curve
from rlhf_plugins.eval.inputs import Inputs
from rlhf_plugins.eval.judging import judged_report, matches_of, score_judge
from rlhf_plugins.eval.kept_responses import SampleStore, kept
from rlhf_plugins.eval.line_up import LineUp, check_line_up
from rlhf_plugins.eval.people import beside_people
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
        check_line_up(config)
        _check(config)
        self.judge = judge_of(config.judge, run=self.run.directory, hooks=self.run)
        self.line_up = LineUp(config, self.load_policy)
        self.tokenizer = load_tokenizer(config.tokenizer, config.policies[self.line_up.baseline], tuple)
        self.line_up.check_tokenizers(self.tokenizer)
        inputs = Inputs(config, self.tokenizer, self.run, self.keep_skipped)
        self.prompts, self.people = inputs.prompts(), inputs.people()
        inputs.check_comparisons()
        self.evaluator = self.make_evaluator()
        self.cost = CostOfAlignment(config, self.evaluator, inputs.second_task())
        self.tasks = self.planned()
        self.total_steps = len(self.tasks)
        self.finished: dict[str, Responses] = {}
        self.accuracy: Report | None = None
        self.judged: Report | None = None
        self.beside_people: Report | None = None
        self.curves = {name: read_curve(name, model) for name, model in config.curves.items()}

    def make_evaluator(self) -> Evaluator:
        config = self.config
        return Evaluator(
            prompts=self.prompts,
            tokenizer=self.tokenizer,
            baseline=self.line_up.model(self.line_up.baseline),
            reward_model=self.load_reward_model(),
            ensemble_penalty=config.ensemble_penalty,
            response_tokens=config.response_tokens,
            reference_tokens=config.data.max_response_tokens,
            batch_size=config.batch_size,
            compute=config.precision.compute,
            seed=config.seed,
            hooks=self.run,
            keep=SampleStore(self.run.directory.parent, self.run),
        )

    def planned(self) -> list[Callable[[], dict[str, float]]]:
        """What each step does: every policy's responses and its cost; the reward model; at last what the judge says."""
        config, tasks = self.config, list[Callable[[], dict[str, float]]]()
        best_of = [partial(self.sample_best, temperature) for temperature in config.temperatures if temperature > 0]
        for policy in config.policies:
            tasks += [partial(self.sample_policy, policy, temperature) for temperature in config.temperatures]
            if self.cost.evaluators:
                tasks.append(partial(self.measure_cost, policy))
            if policy == self.line_up.baseline and config.best_of:
                tasks += best_of
        if config.comparisons.source:
            tasks.append(self.measure_reward_model)
        if config.judge.kind != "none":
            tasks.append(self.ask_judge)
        if config.people.source:
            tasks.append(self.compare_with_people)
        return tasks

    @property
    def backoff(self) -> BackOff:
        return self.evaluator.backoff

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

    def update(self) -> dict[str, float]:
        return self.tasks[self.steps_done]()

    def sample_policy(self, policy: str, temperature: float) -> dict[str, float]:
        """One (policy, temperature) pair."""
        return self.finish_sampling(
            temperature, lambda: {policy: self.evaluator.responses(self.line_up.model(policy), temperature)}
        )

    def sample_best(self, temperature: float) -> dict[str, float]:
        """Best-of-n of every n; the metrics are those of the last one."""

        def sample() -> dict[str, Responses]:
            by_n = self.evaluator.best_of(self.config.best_of, temperature)
            return {name: by_n[n] for name, n in self.line_up.best_of.items()}

        return self.finish_sampling(temperature, sample)

    def finish_sampling(self, temperature: float, sample: Callable[[], dict[str, Responses]]) -> dict[str, float]:
        """Keeps and records the responses that `sample` gives by policy."""
        found = kept(self.run.directory / "data", self.steps_done, sample)
        for policy, responses in found.items():
            self.finished[pair_name(policy, temperature)] = responses
            self.record_samples(f"eval/{pair_name(policy, temperature)}", responses, self.prompts)
        return {f"eval/{name}": value for name, value in means(responses).items()}

    def measure_cost(self, policy: str) -> dict[str, float]:
        """What its references are worth to the policy, and what it writes on the second task."""
        model = self.line_up.model(policy)
        found = self.cost.measure(policy, model)
        if SECOND not in self.cost.evaluators:
            return found
        responses = self.cost.sample(policy, model)
        tag = f"{SECOND}/{pair_name(policy, self.cost.temperature)}"
        self.record_samples(tag, responses, self.cost.evaluators[SECOND].prompts)
        return found | {f"eval/{SECOND}_rouge_l": means(responses)["rouge_l"]}

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

    def compare_with_people(self) -> dict[str, float]:
        """How often people agree with one another, and judge and reward model with them."""
        data, told = self.run.directory / "data", len(self.judge.problems) if self.judge else 0
        with self.run.phase("people"):
            beside = beside_people(self.people, self.judge, self.evaluator, self.config, data, self.run)
        for problem in self.judge.problems[told:] if self.judge else []:
            self.run.alert("warning", "judge", problem)
        self.beside_people = {"table": beside.table(), "figures": beside.figures()}
        return {f"eval/{name}": value for name, value in beside.figures().items() if "/agreement_of" in name}

    def record_samples(self, tag: str, responses: Responses, prompts: Sequence[Prompt]) -> None:
        scores = {"score": responses.proxy, "gold": responses.gold, "kl/sequence_nats": responses.kl_nats}
        for row, prompt in enumerate(prompts):
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
        state |= {"people": self.beside_people, "cost": self.cost.plain()}
        (directory / STATE_FILE).write_text(json.dumps(state))

    def load(self, directory: Path) -> None:
        super().load(directory)
        state = json.loads((directory / STATE_FILE).read_text())
        self.finished = {name: Responses(**fields) for name, fields in state["finished"].items()}
        self.accuracy = state["accuracy"]
        self.judged, self.beside_people = state["judged"], state["people"]
        self.cost.recall(state["cost"])

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
        cost_tables, cost_figures = self.cost.report()
        tables += cost_tables
        figures |= cost_figures
        if self.accuracy is not None:
            tables.append(self.accuracy["table"])
            figures |= self.accuracy["figures"]
        if self.judged is not None:
            tables += self.judged["tables"]
            figures |= self.judged["figures"]
        if self.beside_people is not None:
            tables.append(self.beside_people["table"])
            figures |= self.beside_people["figures"]
        if self.curves:
            tables.append(curves_table(self.curves))
            figures |= curves_figures(self.curves)
        shown = examples(self.prompts, comparisons[0].policies, self.config.example_count)
        return {"tables": tables, "examples": shown, "figures": figures}

    def comparisons(self) -> list[Comparison]:
        """One for each temperature."""
        posts = [post_of(prompt) for prompt in self.prompts]
        resampling = Resampling(posts, self.config.bootstrap, self.config.seed)
        seconds = self.line_up.training_cpu_seconds()
        return [
            Comparison(temperature, self.responses_at(temperature), self.references, resampling, seconds)
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
        return {policy: self.finished[pair_name(policy, temperature)] for policy in self.line_up.at(temperature)}


def _check(config: EvalConfig) -> None:
    if config.comparisons.source and not config.reward_model:
        raise ConfigError("eval.comparisons: they measure a reward model; set eval.reward_model too")
