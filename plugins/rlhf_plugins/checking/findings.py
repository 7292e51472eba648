"""Figures of a trial held against rules, as rows of `rlhf check`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psutil
import torch

from rlhf_engine.checks.rules import Rule, judge
from rlhf_engine.checks.texts import RESPONSES_CUT, TEXT_RULES, cut_figures, text_figures
from rlhf_engine.checks.weights import (
    END_PROBABILITY,
    MEAN_SCORE,
    PADDING,
    SCORE_RULES,
    SCORE_SCALE,
    VALUE_AT_END,
    end_probability,
    norm_figures,
    padding_error,
    rollout_of,
    score_figures,
    value_error,
)
from rlhf_engine.config import PPOConfig
from rlhf_engine.data.examples import Demonstration
from rlhf_engine.generation import generate_rollout
from rlhf_engine.logprobs import response_logprobs
from rlhf_engine.memory_rows import PEAK
from rlhf_engine.models import choose_device
from rlhf_engine.rollout import Rollout
from rlhf_engine.scalar_models import ScalarModel, response_scores
from rlhf_plugins.checking.stand_ins import StandIns
from rlhf_plugins.checking.trial import Trial
from rlhf_plugins.comparison_trainer import ComparisonTrainer
from rlhf_plugins.engine_trainer import EngineTrainer
from rlhf_plugins.online_trainer import OnlineTrainer
from rlhf_sdk.discovery import load_attribute, load_spec
from rlhf_sdk.spec import CheckRow
from rlhf_sdk.trainer import UserError

SCORED = 64
PADDED = 8
GIB = 2**30
NO_REFERENCES = "the data has no response beside its prompts"

MEMORY = Rule(
    name="memory",
    figure="memory/share_of_available",
    warn=0.8,
    fail=1.0,
    meaning="planned peak over what is available",
    look_at="micro_batch_size, rollout_batch_size, model.gradient_checkpointing; `--dry-run` shows the plan",
)

LEARNED = ("eos_rate", "entropy_floor", "score_extremes")
"""Lights of a first update that say nothing of weights from scratch."""


def row_of(rule: Rule, figure: float, *, meaning: str = "") -> CheckRow:
    """The finding that `figure` is, as `rule` judges it."""
    light = judge(rule, figure)
    advice = "" if light.state == "ok" else rule.look_at
    return CheckRow(rule.name, light.state, figure, rule.healthy, meaning or rule.meaning, advice)


def skipped(rule: Rule, why: str) -> CheckRow:
    """A finding that could not be made."""
    return CheckRow(rule.name, "skipped", tolerance=rule.healthy, meaning=why)


def rows_of(rules: Sequence[Rule], figures: Mapping[str, float]) -> Iterator[CheckRow]:
    """One row for each rule whose figure is there."""
    for rule in rules:
        if rule.figure in figures:
            yield row_of(rule, figures[rule.figure])


def memory_row(plugin: str, config: Any) -> CheckRow:
    """The plan of the whole config against what the device has free."""
    try:
        plan = load_attribute(load_spec(plugin).plan)(config)
    except (UserError, ValueError) as error:
        return skipped(MEMORY, str(error))
    peak = next(row.bytes for row in plan if row.what == PEAK)
    available = _available_bytes(config.device)
    meaning = f"planned peak of {peak / GIB:.2f} GiB over {available / GIB:.2f} GiB available"
    return row_of(MEMORY, peak / available, meaning=meaning)


def _available_bytes(device: str) -> int:
    chosen = choose_device(device)
    if chosen.type == "cuda":
        return int(torch.cuda.mem_get_info(chosen)[0])
    return int(psutil.virtual_memory().available)


def text_rows(trial: Trial, examples: Sequence[Demonstration], stand_ins: StandIns) -> Iterator[CheckRow]:
    """The tokenizer on the data's own texts, and what truncation takes.

    The built-in world's comparisons hold samples of the SFT policy: weights from scratch never end theirs.
    """
    if not examples:
        yield from (skipped(rule, NO_REFERENCES) for rule in TEXT_RULES)
        return
    trainer = trial.trainer
    rows = trainer.models["model"].base_model.get_input_embeddings().weight.shape[0]
    figures = text_figures(examples, trainer.tokenizer, embedding_rows=rows)
    template = trainer.config.data.template
    figures |= cut_figures(examples, template=template, eos_id=trainer.tokenizer.eos_token_id)
    if (
        isinstance(trainer, ComparisonTrainer)
        and "model" in stand_ins.untrained
        and "latents" in examples[0].prompt.record
    ):
        del figures[RESPONSES_CUT.figure]
        yield skipped(RESPONSES_CUT, "responses are samples of weights from scratch, which never end")
    yield from rows_of(TEXT_RULES, figures)


def weight_rows(trial: Trial, examples: Sequence[Demonstration], stand_ins: StandIns) -> Iterator[CheckRow]:
    """The models as they are loaded, on given responses."""
    if not examples:
        yield skipped(PADDING, NO_REFERENCES)
        return
    trainer = trial.trainer
    model, rollout = trainer.models["model"], _rollout(trainer, examples[:SCORED])
    few = rollout.rows(torch.arange(min(PADDED, len(rollout)), device=trainer.device))
    with torch.no_grad():
        function = response_scores if isinstance(model, ScalarModel) else response_logprobs
        yield row_of(PADDING, padding_error(lambda rows: function(model, rows), few))
    if not isinstance(model, ScalarModel) and trainer.config.model.path and "model" not in stand_ins.untrained:
        yield row_of(END_PROBABILITY, end_probability(model, rollout))
    if isinstance(trainer, OnlineTrainer):
        yield from _reward_rows(trainer, examples, rollout, stand_ins)


def _rollout(trainer: EngineTrainer, examples: Sequence[Demonstration]) -> Rollout:
    tokenizer = trainer.tokenizer
    eos_id, pad_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    return rollout_of(examples, eos_id=eos_id, pad_id=pad_id, device=trainer.device)


@torch.no_grad()
def _reward_rows(
    trainer: OnlineTrainer, examples: Sequence[Demonstration], rollout: Rollout, stand_ins: StandIns
) -> Iterator[CheckRow]:
    reward_model = trainer.state.models.reward_model
    scores = response_scores(reward_model, rollout)
    yield from rows_of(SCORE_RULES, score_figures(scores))
    if "reward_model" in stand_ins.replaced:
        yield skipped(MEAN_SCORE, "a stand-in for the reward model is not normalised")
    else:
        yield from _norm_rows(trainer, examples, scores)
    if isinstance(trainer.config, PPOConfig):
        yield _value_row(trainer, rollout, scores)


def _norm_rows(trainer: OnlineTrainer, examples: Sequence[Demonstration], scores: torch.Tensor) -> Iterator[CheckRow]:
    """The normalisation that the reward model's checkpoint names, on this run's own texts."""
    reward_model: ScalarModel = trainer.state.models.reward_model
    if reward_model.score_norm == "bias_on_references":
        yield from rows_of([MEAN_SCORE], norm_figures(scores))
    elif reward_model.score_norm == "affine_on_sft_samples":
        sampled = response_scores(reward_model, _samples(trainer, examples[:SCORED]))
        yield from rows_of([MEAN_SCORE, SCORE_SCALE], norm_figures(sampled))
    else:
        yield skipped(MEAN_SCORE, "the reward model does not say what it was normalised on")


def _samples(trainer: OnlineTrainer, examples: Sequence[Demonstration]) -> Rollout:
    return generate_rollout(
        trainer.state.models.policy,
        [example.prompt.tokens for example in examples],
        episodes=range(len(examples)),
        seed=trainer.config.seed,
        response_tokens=trainer.config.response_tokens,
        temperature=trainer.config.temperature,
        eos_id=trainer.tokenizer.eos_token_id,
        pad_id=trainer.tokenizer.pad_token_id,
        batch_size=trainer.config.rollout_batch_size,
        hooks=trainer.run,
    )


def _value_row(trainer: OnlineTrainer, rollout: Rollout, scores: torch.Tensor) -> CheckRow:
    config, models = trainer.config, trainer.state.models
    assert isinstance(config, PPOConfig)
    if config.layout == "shared_trunk":
        return skipped(VALUE_AT_END, "the critic of layout = shared_trunk starts at 0")
    if models.reward_model.head_shape.pooling != "last":
        return skipped(VALUE_AT_END, "a reward model that pools is no critic: V(EOS) is not its score")

    def values(rows: Rollout) -> torch.Tensor:
        found: torch.Tensor = models.logprobs_and_values(rows, temperature=config.temperature)[1]
        return found

    return row_of(VALUE_AT_END, value_error(values, scores, rollout, eos_id=trainer.tokenizer.eos_token_id))


def update_rows(trial: Trial, stand_ins: StandIns) -> Iterator[CheckRow]:
    """The lights of one small update that need no history."""
    trial.update()
    lights = trial.trainer.lights.lights
    for rule in trial.trainer.light_rules():
        if rule.name in lights and rule.judged == "value":
            if rule.name in LEARNED and "model" in stand_ins.untrained:
                yield skipped(rule, "says nothing of weights from scratch")
            else:
                yield row_of(rule, lights[rule.name].figure)


def time_row(trial: Trial, config: Any) -> CheckRow:
    """How long the run would take at the pace of the small update."""
    pace = f"an update on {trial.trainer.config.batch_size} rows takes {trial.update_seconds:.1f} s"
    seconds = trial.run_seconds(config)
    if seconds is None:
        return CheckRow(
            "run_seconds", "skipped", meaning=f"the number of steps is not known before all is read; {pace}"
        )
    return CheckRow(
        "run_seconds", "ok", seconds, meaning=f"seconds of the whole run on this machine as it is now: {pace}"
    )
