"""Pairs of responses as a run of two steps: sample and choose them, then have them labelled."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from rlhf_engine.backoff import BackOff
from rlhf_engine.checks.rules import Rule
from rlhf_engine.checks.supervised import PAIR_RULES
from rlhf_engine.config import PairsConfig
from rlhf_engine.data.api import load_prompts
from rlhf_engine.data.world import Post, gold_score
from rlhf_engine.errors import ConfigError, DataError
from rlhf_engine.pair_choice import margins, most_uncertain, uncertainty
from rlhf_engine.scalar_models import score_heads
from rlhf_plugins.engine_trainer import EngineTrainer
from rlhf_plugins.pairs.agreement import agreement
from rlhf_plugins.pairs.labels import (
    Comparison,
    annotators_labels,
    judge_of_pairs,
    judges_labels,
    peoples_labels,
    read_comparisons,
    write_comparisons,
)
from rlhf_plugins.pairs.sampling import PairSampler, with_scores
from rlhf_sdk.asked_pairs import Pair, read_pairs, write_pairs
from rlhf_sdk.references import COMPARISONS


class PairsTrainer(EngineTrainer):
    """The pairs lie in the run's own folder, so that a run that was killed asks about the same ones."""

    config: PairsConfig

    def prepare(self) -> None:
        config = self.config
        _check(config)
        self.judge = judge_of_pairs(config.judge, self.run.directory, self.run) if config.labeller == "judge" else None
        self.tokenizer = self.load_tokenizer(config.data)
        self.prompts = self.keep_skipped(load_prompts(config.data, self.tokenizer, hooks=self.run), "prompts")
        if not len(self.prompts):
            raise DataError(f"pairs.data: {config.data.source} has no prompt that can be used")
        self.folder = self.run.directory / "data"
        self.rows_at_a_time = BackOff()
        self.total_steps = 2

    @property
    def backoff(self) -> BackOff:
        return self.rows_at_a_time

    def light_rules(self) -> Sequence[Rule]:
        return PAIR_RULES

    def can_leave(self) -> bool:
        """Samples are made again, the same; votes and verdicts are where they were written."""
        return True

    def update(self) -> dict[str, float]:
        """The pairs; then their labels."""
        return self.label() if self.steps_done else self.choose()

    def choose(self) -> dict[str, float]:
        """Samples pairs, and keeps those that are to be labelled, unless an earlier attempt has."""
        pairs, figures = read_pairs(self.folder), dict[str, float]()
        if pairs is None:
            found, uncertain = self.candidates()
            pairs = [found[place] for place in most_uncertain(uncertain, self.config.pairs)]
            if len(pairs) < self.config.pairs:
                self.run.note(
                    f"pairs: {self.config.pairs} asked for; the two responses to a prompt differ in {len(found)}"
                )
            write_pairs(self.folder, pairs)
            figures = {"pairs/different_share": len(found) / self.config.prompts}
        self.record_samples(pairs)
        return {"pairs/chosen": float(len(pairs)), **figures, **_score_figures(pairs)}

    def candidates(self) -> tuple[list[Pair], Tensor]:
        """Pairs of different responses, and how unsure the reward model is of each, [N]."""
        config = self.config
        sampler = PairSampler(
            config=config,
            prompts=self.prompts,
            tokenizer=self.tokenizer,
            device=self.device,
            backoff=self.backoff,
            hooks=self.run,
        )
        found = sampler.candidates()
        if not found:
            raise DataError("pairs: the two responses to every prompt are alike, so there is nothing to compare")
        if not config.reward_model.path:
            return found, torch.zeros(len(found))
        head_scores = sampler.head_scores(found)
        return with_scores(found, head_scores), uncertainty(margins(head_scores), config.choose)

    def record_samples(self, pairs: Sequence[Pair]) -> None:
        """Every response that is asked about, tagged by who wrote it."""
        for pair in pairs:
            prompt = self.prompts[pair.index]
            for place, (policy, response) in enumerate(zip(pair.policies, pair.responses, strict=True)):
                metrics = {"score": pair.scores[place]} if pair.scores else {}
                if "latents" in prompt.record:
                    metrics["gold"] = gold_score(Post.from_record(prompt.record), response)
                self.run.sample(
                    tag=f"pairs/{policy}",
                    index=pair.index,
                    prompt=pair.prompt,
                    response=response,
                    reference=prompt.reference,
                    metrics=metrics,
                )

    def label(self) -> dict[str, float]:
        pairs = read_pairs(self.folder) or []
        with self.run.phase("labels"):
            comparisons = self.labels(pairs)
        if all(line["chosen"] is None for line in comparisons):
            raise DataError(f"pairs: none of {len(pairs)} pairs has a label that prefers one response")
        write_comparisons(self.folder / COMPARISONS, comparisons)
        return self.figures()

    def figures(self) -> dict[str, float]:
        """How much was labelled, and how the reward model does against the labels."""
        pairs, comparisons = read_pairs(self.folder) or [], read_comparisons(self.folder / COMPARISONS)
        decided = sum(line["chosen"] is not None for line in comparisons)
        return {
            "pairs/labelled": float(len(comparisons)),
            "pairs/decided_share": decided / len(comparisons),
            **agreement(pairs, comparisons, self.prompts),
        }

    def labels(self, pairs: Sequence[Pair]) -> list[Comparison]:
        config = self.config
        if config.labeller == "annotators":
            seed = f"annotators/{config.seed}/{config.round}"
            return annotators_labels(pairs, self.prompts, config.annotators, seed=seed)
        if self.judge is not None:
            found = judges_labels(pairs, self.judge, self.folder, self.run)
            for problem in self.judge.problems:
                self.run.alert("warning", "judge", problem)
            return found
        run = self.run.directory.name
        self.run.alert("info", "labels", f"{len(pairs)} pairs wait for labels", f"rlhf label {run}")
        return peoples_labels(pairs, self.run)

    def save(self, directory: Path) -> None:
        super().save(directory)
        if (self.folder / COMPARISONS).is_dir() and self.steps_done == self.total_steps:
            shutil.copytree(self.folder / COMPARISONS, directory / COMPARISONS)

    def finish(self) -> None:
        self.run.result("labels", self.figures())


def _score_figures(pairs: Sequence[Pair]) -> dict[str, float]:
    """Of pairs that a reward model has scored."""
    margins = [abs(pair.margin) for pair in pairs if pair.margin is not None]
    spreads = [pair.disagreement for pair in pairs if pair.disagreement is not None]
    if not margins:
        return {}
    return {
        "pairs/margin_abs_mean": sum(margins) / len(margins),
        "pairs/margin_disagreement": sum(spreads) / len(spreads),
    }


def _check(config: PairsConfig) -> None:
    if not config.model.path:
        raise ConfigError("model.path: pairs are sampled from a policy; give a directory, a hub id or run:ID")
    if config.pairs > config.prompts:
        raise ConfigError(f"pairs: {config.pairs} can't be chosen from prompts = {config.prompts}; raise prompts")
    if config.labels_wanted > config.pairs:
        raise ConfigError(f"labels_wanted: {config.labels_wanted} is more than pairs = {config.pairs}")
    if config.choose != "random" and not config.reward_model.path:
        raise ConfigError(f"choose: {config.choose!r} asks a reward model; give reward_model.path, or choose = random")
    if config.choose == "disagreement" and score_heads(config.reward_model, "reward_model") < 2:
        raise ConfigError("choose: one head disagrees with nobody; train the reward model with rm.heads of 2 or more")
