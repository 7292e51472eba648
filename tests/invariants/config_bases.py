"""For each plugin a run in miniature in which as many keys as possible have something to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from rlhf_sdk.references import map_strings
from tiny_runs import INIT, Config, build_models, world, write_curve, write_rows

OPTIMIZER = {"lr": 3e-2, "schedule": "linear", "warmup_share": 0.2, "max_grad_norm": 1.0}
HUB = "someone/posts"
"""A data set of a hub; the tests that use it stand in for the hub."""

TRAINER = {"optimizer": OPTIMIZER, "device": "cpu", "seed": 3, "threads": 1}


class Workshop:
    """A folder with models, data files and everything else that the runs in miniature start from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models = build_models(folder)
        self.posts = write_rows(folder / "posts.jsonl", _posts())
        self.some_posts = write_rows(folder / "some_posts.jsonl", _posts()[:2])
        self.pairs = write_rows(
            folder / "pairs.jsonl", [_posts()[5], _posts()[5] | {"rejected": "a third"}, _posts()[4]]
        )
        self.bad_rows = write_rows(folder / "bad_rows.jsonl", [_posts()[5] | {"summary": None}])
        self.documents = write_rows(folder / "documents.jsonl", [{"text": f"{row['post']} so"} for row in _posts() * 4])
        self.curve = write_curve(folder / "ppo", 1.0)
        self.no_verdicts = write_rows(folder / "no_verdicts.jsonl", [])
        self.echoed = str(folder)
        (folder / "echo.json").write_text(json.dumps({"steps_done": 1, "sum": 0.5}))

    def base(self, plugin: str) -> Config:
        """The config of the run that mutated ones are compared with."""
        config: Config = getattr(self, f"_{plugin}")()
        return config

    def filled(self, value: Any) -> Any:
        """`value` with "{NAME}" in its strings replaced by what this folder has by that name."""
        names = {**vars(self), **self.models, "hub": HUB}
        return map_strings(value, lambda text: text.format(**names) if text.startswith("{") else text)

    def _echo(self) -> Config:
        return {"steps": 3, "seed": 3}

    def _pretrain(self) -> Config:
        data = {"source": [self.documents], "template": "plain", "cleaning": {"duplicates": False}}
        sizes = {"sequence_tokens": 16, "batch_size": 4, "micro_batch_size": 2}
        return self._from_scratch() | {"data": data, "eval_data": data | {"max_rows": 2}} | sizes

    def _sft(self) -> Config:
        sizes = {"batch_size": 4, "micro_batch_size": 2, "eval_every": 2, "sample_count": 1}
        return self._from_scratch() | {"data": world(1, 12), "eval_data": world(2, 2)} | sizes

    def _from_scratch(self) -> Config:
        return TRAINER | {"model": {"init": msgspec.to_builtins(INIT)}, "tokenizer": {"path": self.models["policy"]}}

    def _rm(self) -> Config:
        data = {"data": world(3, 6), "eval_data": world(4, 2), "norm_data": world(5, 12), "norm_rows": 8}
        sizes = {"batch_size": 2, "micro_batch_size": 1, "eval_every": 2}
        return TRAINER | {"model": {"path": self.models["policy"]}} | data | sizes

    def _pairs(self) -> Config:
        models = {"model": {"path": self.models["policy"]}, "reward_model": {"path": self.models["reward_model"]}}
        sizes = {"prompts": 6, "pairs": 3, "batch_size": 2, "response_tokens": 6, "temperature": 1.0}
        plain = {"device": "cpu", "seed": 3, "threads": 1, "labeller": "annotators"}
        return plain | models | {"data": world(25, 16)} | sizes

    def _ppo(self) -> Config:
        models = {"model": {"path": self.models["policy"]}, "reward_model": {"path": self.models["reward_model"]}}
        sizes = {"total_episodes": 8, "batch_size": 4, "ppo_epochs": 2, "minibatches": 2, "micro_batch_size": 1}
        rollout = {"rollout_batch_size": 2, "response_tokens": 6, "missing_eos": "subtract", "temperature": 1.0}
        samples = {"sample_every": 2, "sample_count": 1}
        return TRAINER | models | {"data": world(6, 16), "gamma": 0.9} | sizes | rollout | samples

    def _rloo(self) -> Config:
        return {key: value for key, value in self._ppo().items() if key != "gamma"} | {"samples_per_prompt": 2}

    def _grpo(self) -> Config:
        return self._rloo()

    def _dpo(self) -> Config:
        data = {"data": world(3, 6), "eval_data": world(4, 3)}
        sizes = {"batch_size": 2, "micro_batch_size": 1, "eval_every": 2, "kl_samples": 2, "sample_count": 1}
        return TRAINER | {"model": {"path": self.models["policy"]}} | data | sizes

    def _ipo(self) -> Config:
        return self._dpo()

    def _kto(self) -> Config:
        return self._dpo()

    def _distil(self) -> Config:
        models = {"teacher": {"path": self.models["policy"]}, "model": {"init": msgspec.to_builtins(INIT)}}
        data = {"data": world(20, 12), "eval_data": world(21, 2), "response_tokens": 6}
        sizes = {"batch_size": 4, "micro_batch_size": 2, "rollout_batch_size": 4, "eval_every": 2, "sample_count": 1}
        return TRAINER | models | data | sizes

    def _eval(self) -> Config:
        policies = {"base": self.models["policy"], "other": self.models["other_policy"]}
        comparisons = {"comparisons": world(8, 3), "train_comparisons": world(9, 4)}
        sizes = {"response_tokens": 6, "batch_size": 2, "bootstrap": 100, "example_count": 1, "temperatures": [1.0]}
        models = {"policies": policies, "reward_model": self.models["reward_model"], "curves": {"free": self.curve}}
        return models | {"data": world(7, 3), "device": "cpu", "seed": 3, "threads": 1} | comparisons | sizes

    def _pipeline(self) -> Config:
        echo = {"plugin": "echo", "config": {"steps": 1}}
        return {"stages": {"first": echo}}

    def _sweep(self) -> Config:
        slow, fast = ({"plugin": "echo", "config": config} for config in ({"delay_seconds": 1.0}, {"seed": 2}))
        base = {"plugin": "echo", "config": {"steps": 2}}
        return {"base": base, "cells": {"slow": slow, "fast": fast}, "rows": {"all": ["slow", "fast"]}}


def likes_the_first(asked: list[Config]) -> list[Config]:
    """A judge as somebody might write one."""
    return [{"index": question["index"], "choice": "first"} for question in asked]


def likes_the_second(asked: list[Config]) -> list[Config]:
    """Another."""
    return [answer | {"choice": "second"} for answer in likes_the_first(asked)]


def likes_the_shorter(asked: list[Config]) -> list[Config]:
    """One whose answer does not depend on the order."""
    shorter = [len(question["first"]) < len(question["second"]) for question in asked]
    return [
        {"index": question["index"], "choice": "first" if short else "second"}
        for question, short in zip(asked, shorter, strict=True)
    ]


def _posts() -> list[dict[str, Any]]:
    """Rows with two columns for every part, a duplicate, blanks and control characters, and a post of many lines."""
    parts = ("subreddit", "title", "post", "summary", "chosen", "rejected", "text", "id")
    rows: list[dict[str, Any]] = [
        {part: f"{part} of row {row}" for part in parts} | {f"other_{part}": f"another {part} {row}" for part in parts}
        for row in range(6)
    ]
    rows[1] = dict(rows[0])
    rows[2] |= {"post": "cafe\u0301 \x07", "text": "cafe\u0301 \x07"}
    rows[3] |= {"post": "a  \n\n\n\nb", "text": "a  \n\n\n\nb"}
    rows[4]["post"] = "\n".join(["one of many lines"] * 20)
    return [row | {"other_prompt": f"a ready prompt {number}"} for number, row in enumerate(rows)]
