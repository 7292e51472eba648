"""The policies of an evaluation, in the table's order: models that are named, and best-of-n of the first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_engine.config import EvalConfig
from rlhf_engine.data.tokenizers import check_same_tokens
from rlhf_engine.errors import ConfigError
from rlhf_engine.eval.table import REFERENCE
from rlhf_plugins.eval.costs import training_cpu_seconds

ONE_TOKENIZER = "policies are compared token by token; evaluate those of another tokenizer in a run of their own"


def best_of_names(config: EvalConfig) -> dict[str, int]:
    """n of each best-of-n, by its name."""
    return {f"{next(iter(config.policies))}_best_of_{n}": n for n in config.best_of}


@dataclass(frozen=True)
class LineUp:
    """`load` gives the model of a name; the baseline and one other are in memory at a time."""

    config: EvalConfig
    load: Callable[[str], PreTrainedModel]
    _loaded: dict[str, PreTrainedModel] = field(default_factory=dict)

    @property
    def baseline(self) -> str:
        return next(iter(self.config.policies))

    @property
    def best_of(self) -> dict[str, int]:
        """n of each best-of-n, by its name."""
        return best_of_names(self.config)

    def at(self, temperature: float) -> list[str]:
        """n greedy samples are one, so best-of-n has no row at temperature 0."""
        first, *others = self.config.policies
        return [first, *(self.best_of if temperature > 0 else []), *others]

    def model(self, name: str) -> PreTrainedModel:
        """The policy `name`, loaded where it is not the last one that was asked for."""
        if name not in self._loaded:
            for other in set(self._loaded) - {self.baseline}:
                del self._loaded[other]
            self._loaded[name] = self.load(name)
        return self._loaded[name]

    def check_tokenizers(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Raises ConfigError, naming the key, for a policy or reward model that reads other tokens."""
        models = {f"policies.{name}": path for name, path in self.config.policies.items()}
        for key, path in {**models, "reward_model": self.config.reward_model}.items():
            if path:
                check_same_tokens(tokenizer, path, f"eval.{key}", because=ONE_TOKENIZER)

    def training_cpu_seconds(self) -> dict[str, float]:
        """By policy, of those that runs here have made."""
        models = {name: [path] for name, path in self.config.policies.items()}
        of_best = [self.config.policies[self.baseline], self.config.reward_model]
        models |= dict.fromkeys(self.best_of, of_best)
        seconds = {name: training_cpu_seconds(paths) for name, paths in models.items()}
        return {name: value for name, value in seconds.items() if value}


def check_line_up(config: EvalConfig) -> None:
    """Raises ConfigError for policies and temperatures that can't be compared."""
    if not config.policies:
        raise ConfigError("eval.policies: none given; name at least one, the first is the baseline")
    if config.best_of and not config.reward_model:
        raise ConfigError("eval.best_of: a reward model picks the best; set eval.reward_model too")
    if len(set(config.best_of)) < len(config.best_of):
        raise ConfigError(f"eval.best_of: {config.best_of}; allowed: different numbers, 2 or above")
    taken = set(config.policies) & {REFERENCE, *best_of_names(config)}
    if taken:
        raise ConfigError(f"eval.policies: {taken.pop()!r} stands for something else; give that policy another name")
    temperatures = config.temperatures
    if not temperatures or min(temperatures) < 0 or len(set(temperatures)) < len(temperatures):
        raise ConfigError(f"eval.temperatures: {temperatures}; allowed: different numbers, 0 (greedy) or above")
