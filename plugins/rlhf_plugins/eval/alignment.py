"""The cost of alignment as steps of an evaluation: each policy on the references, and on a second task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from transformers import PreTrainedModel

from rlhf_engine.config import EvalConfig
from rlhf_engine.data.examples import Prompt
from rlhf_engine.errors import DataError
from rlhf_engine.eval.alignment_cost import OnTask, Task, cost_figures, cost_table, on_references
from rlhf_engine.eval.policies import Evaluator, Responses, post_of
from rlhf_engine.eval.table import Resampling

HELD_OUT, SECOND = "held_out", "second_task"
TITLES = {HELD_OUT: "held-out", SECOND: "second task"}
BESIDE_ROUGE_L = ("rouge_1", "rouge_2")
Plain = dict[str, dict[str, Any]]


def with_references(prompts: Sequence[Prompt]) -> list[Prompt]:
    return [prompt for prompt in prompts if prompt.reference]


class CostOfAlignment:
    """`evaluator` has the held-out prompts, `second_prompts` are those of the second task, perhaps none."""

    def __init__(self, config: EvalConfig, evaluator: Evaluator, second_prompts: Sequence[Prompt]) -> None:
        self.config = config
        self.evaluators: dict[str, Evaluator] = {}
        if held_out := with_references(evaluator.prompts):
            self.evaluators[HELD_OUT] = replace(evaluator, prompts=held_out)
        if config.second_task.source:
            self.evaluators[SECOND] = self._second(evaluator, with_references(second_prompts))
        self.outcomes: dict[str, dict[str, OnTask]] = {name: {} for name in self.evaluators}

    def _second(self, evaluator: Evaluator, prompts: list[Prompt]) -> Evaluator:
        task = self.config.second_task
        if not prompts:
            raise DataError(f"eval.second_task: no row of {task.source} has a reference")
        return replace(evaluator, prompts=prompts, reward_model=None, reference_tokens=task.max_response_tokens)

    @property
    def temperature(self) -> float:
        """Of the samples on the second task: the lowest, so greedy where that is asked for at all."""
        return min(self.config.temperatures)

    def measure(self, name: str, policy: PreTrainedModel) -> dict[str, float]:
        """The policy on every task; returns figures of this step."""
        for task, evaluator in self.evaluators.items():
            self.outcomes[task][name] = on_references(evaluator, policy)
        return {f"eval/{task}_nats_per_token": found[name].nats_per_token for task, found in self.outcomes.items()}

    def sample(self, name: str, policy: PreTrainedModel) -> Responses:
        """The policy's responses on the second task, whose measures are kept."""
        responses = self.evaluators[SECOND].responses(policy, self.temperature)
        measures = {"rouge_l": responses.rouge_l}
        measures |= {name: responses.text[name] for name in BESIDE_ROUGE_L if name in responses.text}
        self.outcomes[SECOND][name] = replace(self.outcomes[SECOND][name], measures=measures)
        return responses

    def tasks(self) -> list[Task]:
        return [
            Task(name, TITLES[name], outcomes, self._resampling(self.evaluators[name].prompts))
            for name, outcomes in self.outcomes.items()
        ]

    def _resampling(self, prompts: Sequence[Prompt]) -> Resampling:
        return Resampling([post_of(prompt) for prompt in prompts], self.config.bootstrap, self.config.seed)

    def report(self) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """The table, if there is anything to tell, and the figures."""
        tasks = self.tasks()
        return ([cost_table(tasks)] if tasks else []), cost_figures(tasks)

    def plain(self) -> dict[str, Plain]:
        """As JSON."""
        return {
            task: {name: asdict(outcome) for name, outcome in found.items()} for task, found in self.outcomes.items()
        }

    def recall(self, plain: dict[str, Plain]) -> None:
        """The inverse of `plain`."""
        self.outcomes = {
            task: {name: OnTask(**fields) for name, fields in found.items()} for task, found in plain.items()
        }
