"""What trainers on comparisons share: where the comparisons come from, and how well scores agree with them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from transformers import PreTrainedModel

from rlhf_engine.config import DataConfig, WorldComparisonConfig
from rlhf_engine.data.api import comparison_groups_from_records, load_comparisons
from rlhf_engine.data.examples import ComparisonGroup
from rlhf_engine.data.world import Post, gold_score
from rlhf_engine.data.world_comparisons import label_world_comparisons
from rlhf_engine.errors import DataError
from rlhf_engine.order import shuffled_batch
from rlhf_engine.reward_modeling import pair_accuracy
from rlhf_plugins.engine_trainer import EngineTrainer

WORLD = "world"
SAMPLING_ROWS = 128


class ComparisonTrainer(EngineTrainer):
    """One step is one optimizer step on `batch_size` comparison groups."""

    groups: Sequence[ComparisonGroup]
    held_out: Sequence[ComparisonGroup]

    def sft_policy(self) -> PreTrainedModel:
        """The policy that training starts from; in the built-in world it writes the samples that are compared."""
        raise NotImplementedError

    def load_comparisons(self) -> None:
        """Sets `groups`, and `held_out`: none, or in the built-in world groups of its plain mix of writers."""
        config = self.config
        self.groups = self.comparisons(config.data, "comparisons", config.world)
        self.held_out = []
        if config.eval_data.source:
            world = msgspec.structs.replace(config.world, careful=1, edited=0, sloppy=0)
            self.held_out = self.comparisons(config.eval_data, "held-out comparisons", world)

    def comparisons(self, data: DataConfig, name: str, world: WorldComparisonConfig) -> Sequence[ComparisonGroup]:
        """The built-in world's, which are labelled first, and those that are read.

        Where both are sources, `max_rows` is the number of the world's posts, and the others are read whole.
        """
        if WORLD not in data.source:
            return self.read_comparisons(data, name)
        alone = msgspec.structs.replace(data, source=[WORLD])
        own = comparison_groups_from_records(self.world_records(alone, name, world), alone, self.tokenizer)
        others = [source for source in data.source if source != WORLD]
        whole = msgspec.structs.replace(data, source=others, max_rows=0)
        return [*own, *self.read_comparisons(whole, name)] if others else own

    def read_comparisons(self, data: DataConfig, name: str) -> Sequence[ComparisonGroup]:
        groups = load_comparisons(data, self.tokenizer, hooks=self.run, group_by_prompt=self.config.group_by_prompt)
        kept: Sequence[ComparisonGroup] = self.keep_skipped(groups, name)
        return kept

    def world_records(self, data: DataConfig, name: str, world: WorldComparisonConfig) -> list[dict[str, Any]]:
        """Labelled once, then read back from the run's own folder by a resumed run."""
        file = self.run.directory / "data" / comparison_file(name)
        if file.exists():
            records: list[dict[str, Any]] = json.loads(file.read_text())
            return records
        records = self.new_world_records(data, name, world)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        aside = file.with_suffix(".tmp")
        aside.write_text(json.dumps(records))
        aside.rename(file)
        return records

    def new_world_records(self, data: DataConfig, name: str, world: WorldComparisonConfig) -> list[dict[str, Any]]:
        """Samples of the SFT policy and written summaries, labelled by simulated annotators; or the first `max_rows` of
        those of the reward-model run that `labels_of` names.
        """
        if self.config.labels_of:
            return recorded_labels(self.config.labels_of, name)[: data.max_rows or None]
        with self.run.phase("label comparisons"):
            return label_world_comparisons(
                self.sft_policy(),
                self.tokenizer,
                data,
                world,
                batch_size=SAMPLING_ROWS,
                hooks=self.run,
            )

    def next_rows(self) -> list[int]:
        """Which groups the coming step sees."""
        return shuffled_batch(len(self.groups), self.config.batch_size, self.steps_done, self.config.seed)

    def next_groups(self) -> list[ComparisonGroup]:
        """The groups of the coming step."""
        return [self.groups[row] for row in self.next_rows()]

    def held_out_accuracies(self, scores: Sequence[Sequence[float]]) -> dict[str, float]:
        """Agreement of `scores`, one for each response of each held-out group, with the labels.

        In the built-in world also with gold, over the pairs whose gold differs.
        """
        rows = list(zip(self.held_out, scores, strict=True))
        labelled = [(row[chosen], row[rejected]) for group, row in rows for chosen, rejected in group.pairs]
        figures = {"accuracy/valid": _accuracy(labelled), "pairs": float(len(labelled))}
        by_gold = [pair for group, row in rows for pair in _gold_pairs(group, row)]
        return figures | ({"accuracy/gold": _accuracy(by_gold)} if by_gold else {})


def recorded_labels(model: str, name: str) -> list[dict[str, Any]]:
    """The comparisons called `name` of the run that made `model`. Raises DataError where it has none."""
    file = Path(model).absolute().parents[2] / "data" / comparison_file(name)
    if not file.exists():
        raise DataError(f"labels_of: {file} is not there; name a run on comparisons of the built-in world")
    records: list[dict[str, Any]] = json.loads(file.read_text())
    return records


def comparison_file(name: str) -> str:
    """The file's name in a run's `data` folder."""
    return f"{name.replace(' ', '-')}.json"


def _accuracy(pairs: Sequence[tuple[float, float]]) -> float:
    scores = torch.tensor(pairs, dtype=torch.float64).reshape(-1, 2)
    return pair_accuracy(scores[:, 0], scores[:, 1])


def _gold_pairs(group: ComparisonGroup, scores: Sequence[float]) -> list[tuple[float, float]]:
    """Scores of (better by gold, worse by gold) for each labelled pair of different gold; none outside the world."""
    if "latents" not in group.prompt.record:
        return []
    post = Post.from_record(group.prompt.record)
    gold = [gold_score(post, response) for response in group.responses]
    ordered = [(a, b) if gold[a] > gold[b] else (b, a) for a, b in group.pairs if gold[a] != gold[b]]
    return [(scores[better], scores[worse]) for better, worse in ordered]
