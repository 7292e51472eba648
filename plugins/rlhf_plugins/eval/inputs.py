"""The data of an evaluation, read before anything is sampled: what can't be used is named at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from rlhf_engine.config import DataConfig, EvalConfig
from rlhf_engine.data.api import load_comparisons, load_prompts
from rlhf_engine.data.examples import Prompt
from rlhf_engine.data.people import People, load_people
from rlhf_engine.errors import DataError
from rlhf_engine.eval.policies import post_of
from rlhf_plugins.eval.accuracy import WORLD, KeepSkipped
from rlhf_sdk.trainer import Run


@contextmanager
def naming(key: str) -> Iterator[None]:
    """Says in an error about data which of the config's sets it is."""
    try:
        yield
    except DataError as error:
        raise DataError(f"eval.{key}: {error}") from error


@dataclass(frozen=True)
class Inputs:
    """Reads what `config` names; each raises DataError, naming the key, for what can't be used."""

    config: EvalConfig
    tokenizer: PreTrainedTokenizerBase
    run: Run
    keep_skipped: KeepSkipped

    def prompts(self) -> Sequence[Prompt]:
        """Warns of posts that come again: they make nobody surer."""
        found = self._prompts("data", self.config.data, "prompts")
        again = len(found) - len({post_of(prompt) for prompt in found})
        if again:
            self.run.alert(
                "warning",
                "repeated_posts",
                f"eval.data: {again} of {len(found)} prompts are on a post that came before; means count every row, "
                "intervals every post once",
                "eval.data.cleaning.duplicates = true leaves out rows that are the same",
            )
        return found

    def second_task(self) -> Sequence[Prompt]:
        """None where there is no such task."""
        data = self.config.second_task
        return self._prompts("second_task", data, "second task") if data.source else []

    def people(self) -> People:
        """Without anybody where there is no source."""
        data = self.config.people
        if not data.source:
            return People()
        with naming("people"):
            found: People = self.keep_skipped(load_people(data, self.tokenizer, hooks=self.run), "people")
        return found

    def check_comparisons(self) -> None:
        """They are read again, from the cache, when their turn comes; the world's are made of samples then."""
        for key in ("comparisons", "train_comparisons"):
            data: DataConfig = getattr(self.config, key)
            if data.source and data.source != WORLD:
                with naming(key):
                    load_comparisons(data, self.tokenizer, hooks=self.run)

    def _prompts(self, key: str, data: DataConfig, name: str) -> Sequence[Prompt]:
        with naming(key):
            found: Sequence[Prompt] = self.keep_skipped(load_prompts(data, self.tokenizer, hooks=self.run), name)
        return found
