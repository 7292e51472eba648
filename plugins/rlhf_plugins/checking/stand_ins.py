"""What stands in for stages that have not run: the weights that they would begin with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch

from rlhf_engine.config import DataConfig, ModelConfig
from rlhf_engine.data.api import raw_texts
from rlhf_engine.data.tokenizers import load_tokenizer
from rlhf_engine.hooks import NoHooks
from rlhf_engine.models import load_policy, save_model
from rlhf_engine.scalar_models import load_scalar_model
from rlhf_sdk.config_errors import convert_config
from rlhf_sdk.discovery import load_spec
from rlhf_sdk.references import STAGE_PREFIX, resolve
from rlhf_sdk.run_root import run_root
from rlhf_sdk.spec import CheckRow
from rlhf_sdk.trainer import UserError

CPU = torch.device("cpu")
TOKENIZER_ROWS = 2000
MODELS = ("model", "reward_model")
OTHERS = ("ref_model", "sft_model", "labels_of", "critic_of")


@dataclass(frozen=True)
class StandIns:
    """A config without links; which of its models stand in for a stage's, and which of these know nothing yet."""

    config: Any
    replaced: frozenset[str] = frozenset()
    untrained: frozenset[str] = frozenset()
    rows: tuple[CheckRow, ...] = ()

    def replacing(self, key: str, value: Any, *, untrained: bool, meaning: str) -> StandIns:
        """With `key` of the config replaced, and a row that says so."""
        row = CheckRow(f"link: {key}", "skipped", meaning=meaning)
        return StandIns(
            msgspec.structs.replace(self.config, **{key: value}),
            self.replaced | {key},
            self.untrained | ({key} if untrained else frozenset()),
            (*self.rows, row),
        )


def without_links(config: Any, stages: Mapping[str, Mapping[str, Any]], folder: Path) -> StandIns:
    """`config` with each link to a stage replaced; models that have to be made are written below `folder`."""
    found = StandIns(config)
    for key, stage in _links(config):
        if stage not in stages:
            raise UserError(f"{key} = '{STAGE_PREFIX}{stage}': the profile has no such stage; --from {stage}=RUN")
        if key == "model":
            found = _with_policy(found, stage, stages, folder / "model")
        elif key == "reward_model":
            found = _with_reward_model(found, stage, folder / "reward_model")
        elif key in ("ref_model", "sft_model"):
            found = found.replacing(key, ModelConfig(), untrained=False, meaning="the policy that stands in is taken")
        else:
            found = found.replacing(key, "", untrained=False, meaning=f"made anew; --from {stage}=RUN takes that run's")
    return _without_comparisons_to_come(found)


def _links(config: Any) -> Iterator[tuple[str, str]]:
    """(key, stage) of each link, the policy's first: its words are what a stand-in reward model reads."""
    for key in (*MODELS, *OTHERS):
        value = getattr(config, key, "")
        path = value.path if isinstance(value, ModelConfig) else value
        if path.startswith(STAGE_PREFIX):
            yield key, path.removeprefix(STAGE_PREFIX)


def _without_comparisons_to_come(found: StandIns) -> StandIns:
    """Without the labelled pairs of stages that have not run, where there are other comparisons."""
    data = getattr(found.config, "data", DataConfig())
    there = [source for source in data.source if not source.startswith(STAGE_PREFIX)]
    if len(there) == len(data.source):
        return found
    if not there:
        raise UserError("data.source: all comparisons are still to be labelled; check this stage when they are")
    fewer = msgspec.structs.replace(data, source=there)
    return found.replacing("data", fewer, untrained=False, meaning="pairs that are still to be labelled are left out")


def _with_policy(found: StandIns, stage: str, stages: Mapping[str, Mapping[str, Any]], folder: Path) -> StandIns:
    first, origin = _origin(stage, stages)
    advice = f"; --from {stage}=RUN checks the trained ones"
    if origin.model.path:
        meaning = f"{origin.model.path}, from which stage {first} starts, stands in{advice}"
        return found.replacing("model", origin.model, untrained=False, meaning=meaning)
    data: DataConfig = msgspec.structs.replace(origin.data, max_rows=_at_most(origin.data.max_rows, TOKENIZER_ROWS))
    tokenizer = load_tokenizer(origin.tokenizer, "", lambda: raw_texts(data, NoHooks()))
    torch.manual_seed(origin.seed)
    save_model(load_policy(origin.model, tokenizer, CPU), tokenizer, folder)
    model = msgspec.structs.replace(found.config.model, path=str(folder))
    meaning = f"the weights from scratch that stage {first} starts from stand in{advice}"
    return found.replacing("model", model, untrained=True, meaning=meaning)


def _origin(stage: str, stages: Mapping[str, Mapping[str, Any]]) -> tuple[str, Any]:
    """The stage from which the weights of `stage` come in the end, and its config."""
    plain = stages[stage]
    config = convert_config(resolve(run_root(), plain["config"]), load_spec(plain["plugin"]).config)
    if config.model.path.startswith(STAGE_PREFIX):
        return _origin(config.model.path.removeprefix(STAGE_PREFIX), stages)
    return stage, config


def _with_reward_model(found: StandIns, stage: str, folder: Path) -> StandIns:
    """The policy's weights with a new head, as reward-model training begins."""
    config = found.config
    tokenizer = load_tokenizer(config.tokenizer, config.model.path, list)
    torch.manual_seed(config.seed)
    save_model(load_scalar_model(config.model, tokenizer, CPU), tokenizer, folder)
    model = msgspec.structs.replace(config.reward_model, path=str(folder))
    meaning = f"the policy's weights with a new head stand in; --from {stage}=RUN checks the trained ones"
    return found.replacing("reward_model", model, untrained=True, meaning=meaning)


def _at_most(rows: int, limit: int) -> int:
    """A row limit, where 0 means none."""
    return min(rows, limit) if rows else limit
