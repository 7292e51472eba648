"""Who says which response of a pair is better: people, a judge, or the built-in world's annotators."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from rlhf_engine.config import AnnotatorConfig, JudgeConfig
from rlhf_engine.data.examples import Prompt
from rlhf_engine.data.world import Annotators, Post
from rlhf_engine.errors import ConfigError
from rlhf_engine.eval.pairwise import outcomes
from rlhf_engine.hooks import Hooks
from rlhf_plugins.judges.asking import answers_about, ask_once, questions_about
from rlhf_plugins.judges.choice import judge_of
from rlhf_plugins.judges.questions import Judge
from rlhf_sdk.asked_pairs import Pair
from rlhf_sdk.files import make_private_directory, write_atomically
from rlhf_sdk.preferences import PreferenceStore
from rlhf_sdk.settled_votes import settle
from rlhf_sdk.trainer import Run

POLL_SECONDS = 0.2
SIMULATED = "simulated"
FILE = "comparisons.jsonl"
VERDICTS_FILE = "verdicts.jsonl"

Comparison = Mapping[str, Any]
"""As `settled_votes` makes them: prompt, chosen, rejected (None where neither is preferred), labellers."""


def annotators_labels(
    pairs: Sequence[Pair], prompts: Sequence[Prompt], config: AnnotatorConfig, *, seed: str
) -> list[Comparison]:
    """One simulated annotator's label of each pair; noise by (seed, place). Raises ConfigError outside the world."""
    pool = Annotators(
        temperature=config.annotator_temperature, flip_share=config.flip_share, skimmer_share=config.skimmer_share
    )
    found = []
    for place, pair in enumerate(pairs):
        record = prompts[pair.index].record
        if "latents" not in record:
            raise ConfigError("labeller: annotators know the built-in world's posts alone; use people or judge")
        first = pool.prefers_first(Post.from_record(record), *pair.responses, random.Random(f"{seed}/{place}"))
        found.append(comparison(pair, 1.0 if first else 0.0, SIMULATED))
    return found


def judge_of_pairs(config: JudgeConfig, run: Path, hooks: Hooks) -> Judge:
    """Raises ConfigError where `config` names none that can label."""
    judge = judge_of(config, run=run, hooks=hooks)
    if judge is None:
        raise ConfigError(f"judge.kind: {config.kind!r} labels nothing; allowed: claude, command, python, recorded")
    return judge


def judges_labels(pairs: Sequence[Pair], judge: Judge, data: Path, hooks: Hooks) -> list[Comparison]:
    """Of the pairs that the judge has answered in both orders; two answers that differ prefer neither."""
    prompts = [pair.prompt for pair in pairs]
    first, second = [pair.responses[0] for pair in pairs], [pair.responses[1] for pair in pairs]
    verdicts = ask_once(judge, questions_about(prompts, first, second), data / VERDICTS_FILE, hooks)
    credits = outcomes(list(answers_about(prompts, first, second, verdicts)), len(pairs))
    answered = zip(pairs, credits, strict=True)
    return [comparison(pair, credit, judge.name) for pair, credit in answered if credit is not None]


def peoples_labels(pairs: Sequence[Pair], run: Run) -> list[Comparison]:
    """Waits, at safe points, until as many pairs are labelled as `labels_wanted` says, all if 0."""
    store, said = PreferenceStore(run.directory.parent), -1
    while True:
        labelled = settled_labels(pairs, store)
        if len(labelled) != said:
            said = len(labelled)
            run.progress("waiting for labels", said, len(pairs))
        if said >= (run.config.labels_wanted or len(pairs)):
            return labelled
        run.safe_point()
        time.sleep(POLL_SECONDS)


def settled_labels(pairs: Sequence[Pair], store: PreferenceStore) -> list[Comparison]:
    """One comparison for each of the pairs that somebody has voted on, in the order of the pairs."""
    asked = {(pair.prompt, frozenset(pair.responses)): place for place, pair in enumerate(pairs)}
    found: dict[int, Comparison] = {}
    votes = [vote for vote in store.refresh() if vote.pair in asked]
    for row, settled in settle(votes).comparisons.items():
        found[asked[votes[row - 1].pair]] = settled
    return [found[place] for place in sorted(found)]


def comparison(pair: Pair, credit: float, labeller: str) -> Comparison:
    """`credit`: 1 where the first response is better, 0 where the second is, one half where neither."""
    found: dict[str, Any] = {"prompt": pair.prompt, "labellers": [labeller]}
    if credit == 0.5:
        return {**found, "chosen": None, "rejected": None, "verdict": "tie"}
    best = 0 if credit == 1 else 1
    named = {"sources": [pair.policies[best], pair.policies[1 - best]]}
    return {**found, "chosen": pair.responses[best], "rejected": pair.responses[1 - best], **named}


def read_comparisons(folder: Path) -> list[Comparison]:
    """What `write_comparisons` wrote."""
    return [msgspec.json.decode(line) for line in (folder / FILE).read_bytes().splitlines()]


def write_comparisons(folder: Path, comparisons: Sequence[Comparison]) -> None:
    """A folder that can be named as a source of comparisons."""
    make_private_directory(folder)
    write_atomically(folder / FILE, b"".join(msgspec.json.encode(line) + b"\n" for line in comparisons))
