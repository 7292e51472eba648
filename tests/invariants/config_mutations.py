"""For every key of every config another value, under which a run in miniature must come out differently or be refused.

Keys are listed by the type that declares them, so that stages that share a type share its entries. A key that stands
in several stages' own types is tried in each of those stages; a key of a section (an optimizer's, say) in the stage
that `HOSTS` names. "{NAME}" in a value stands for something in the `Workshop`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tiny_runs import world


@dataclass(frozen=True)
class Try:
    """Another value; `given`: what the base must be for the key to matter, by dotted keys of the whole config.

    `host`: where a section's key is tried, if not where the section's other keys are.
    """

    value: Any
    given: dict[str, Any] = field(default_factory=dict)
    host: tuple[str, str] | None = None


HOSTS = {
    "OptimizerConfig": ("sft", "optimizer."),
    "PrecisionConfig": ("sft", "precision."),
    "ModelConfig": ("sft", "model."),
    "InitConfig": ("sft", "model.init."),
    "TokenizerConfig": ("sft", "tokenizer."),
    "DataConfig": ("sft", "data."),
    "CleaningConfig": ("sft", "data.cleaning."),
    "ColumnConfig": ("sft", "data.columns."),
    "WorldComparisonConfig": ("rm", "world."),
    "AnnotatorConfig": ("pairs", "annotators."),
    "LoraConfig": ("sft", "lora."),
    "JudgeConfig": ("eval", "judge."),
    "ProbeConfig": ("ppo", "probe."),
    "StageConfig": ("pipeline", "stages.first."),
}
"""Stage and prefix of the keys of each section; the types of whole configs need none."""

POSTS = {"data.source": ["{posts}"], "data.max_rows": 0}
IN_PAIRS, IN_DOCUMENTS = ("rm", "data.columns."), ("pretrain", "data.columns.")
SKIPPED = {"data.source": ["{posts}", "{bad_rows}"], "data.max_rows": 0, "data.max_bad_share": 0.5}
IN_GROUPS = {"data.source": ["{pairs}"], "data.max_rows": 0}
LONGER = {"response_tokens": 60, "data.max_rows": 15}
"""Some of the responses end with EOS."""
ADAPTERS = {"lora.rank": 4}
PROBED = {"probe.every": 1, "probe.size": 8}
HALF = {"precision.compute": "float16", "precision.allow_float16": True}
NEWEST_ALONE = {"checkpoint_every": 1, "keep_checkpoints": 1}
POLICIES_ALONE = {"comparisons.source": [], "reward_model": "", "curves": {}}
BY_CLAUDE = {**POLICIES_ALONE, "judge.kind": "claude"}
BY_PROGRAM = {**POLICIES_ALONE, "judge.kind": "command", "judge.command": ["true"]}
BY_FUNCTION = {**POLICIES_ALONE, "judge.kind": "python", "judge.function": "config_bases:likes_the_first"}
BY_RECORD = {**POLICIES_ALONE, "judge.kind": "recorded", "judge.recorded": "{no_verdicts}"}
BY_LENGTH = {"kind": "python", "function": "config_bases:likes_the_shorter"}
TRAINED = {"tokenizer.path": "", "tokenizer.train_vocab_size": 380}

MUTATIONS: dict[str, dict[str, Any]] = {
    "TrainerConfig": {
        "model": {"path": "{other_policy}"},
        "tokenizer": {"path": "{tokenizer}"},
        "optimizer": {"lr": 1e-3},
        "precision": {"compute": "bfloat16"},
        "device": "cuda",
        "seed": 4,
        "threads": 2,
        "deterministic": True,
        "memory_budget_gib": 1e-6,
        "release_cache": "between_phases",
        "checkpoint_every": 1,
        "keep_checkpoints": Try(1, {"checkpoint_every": 1}),
        "keep_every": Try(1, NEWEST_ALONE),
        "keep_best": Try("optimizer/lr", NEWEST_ALONE),
        "best_is": Try("lowest", {**NEWEST_ALONE, "keep_best": "optimizer/lr"}),
    },
    "EchoConfig": {
        "text": "good day",
        "steps": 2,
        "delay_seconds": 0.05,
        "weight": 2.0,
        "model": "{echoed}",
        "seed": 4,
        "checkpoint_every": 1,
        "keep_checkpoints": Try(1, {"checkpoint_every": 1}),
        "keep_every": Try(1, NEWEST_ALONE),
        "keep_best": Try("echo/sum", {**NEWEST_ALONE, "best_is": "lowest"}),
        "best_is": Try("lowest", {**NEWEST_ALONE, "keep_best": "echo/sum"}),
    },
    "PretrainConfig": {
        "data": {"source": ["{posts}"]},
        "eval_data": {"source": ["{posts}"]},
        "sequence_tokens": 12,
        "batch_size": 2,
        "micro_batch_size": 4,
        "epochs": 2,
        "max_steps": 1,
    },
    "SFTConfig": {
        "lora": {"rank": 2},
        "data": world(11, 12),
        "eval_data": world(12, 2),
        "batch_size": 2,
        "micro_batch_size": 4,
        "epochs": 2,
        "max_steps": 1,
        "eval_every": 1,
        "sample_count": 2,
        "temperature": 0.3,
    },
    "RMConfig": {
        "lora": {"rank": 2},
        "data": world(13, 6),
        "eval_data": world(14, 2),
        "norm_data": world(15, 12),
        "group_by_prompt": Try(True, IN_GROUPS),
        "batch_size": 1,
        "micro_batch_size": 2,
        "epochs": 2,
        "max_steps": 1,
        "eval_every": 1,
        "head_init": "zero",
        "head": "mlp",
        "pooling": "mean",
        "heads": 2,
        "score_norm": "affine_on_sft_samples",
        "norm_rows": 9,
        "world": {"samples_per_post": 3},
        "labels_of": "{folder}/nowhere/checkpoints/step-00000001/model",
        "sft_model": {"path": "{other_policy}"},
    },
    "PreferenceConfig": {
        "data": world(13, 6),
        "eval_data": world(14, 3),
        "world": {"samples_per_post": 3},
        "labels_of": "{folder}/nowhere/checkpoints/step-00000001/model",
        "group_by_prompt": Try(True, IN_GROUPS),
        "beta": 0.5,
        "batch_size": 3,
        "micro_batch_size": 2,
        "epochs": 2,
        "max_steps": 1,
        "eval_every": 1,
        "kl_samples": 3,
        "sample_count": 2,
    },
    "DPOConfig": {"label_smoothing": 0.3},
    "IPOConfig": {"ipo_reduction": "mean"},
    "KTOConfig": {"desirable_weight": 2.0, "undesirable_weight": 2.0},
    "LoraConfig": {
        "rank": Try(2, ADAPTERS),
        "alpha": Try(64.0, ADAPTERS),
        "targets": Try(["q_proj"], ADAPTERS),
    },
    "WorldComparisonConfig": {
        "samples_per_post": 1,
        "temperature": 0.3,
        "careful": 2,
        "edited": 2,
        "sloppy": 2,
    },
    "AnnotatorConfig": {
        "annotator_temperature": 50.0,
        "flip_share": 1.0,
        "skimmer_share": 1.0,
    },
    "PairsConfig": {
        "model": {"path": "{other_policy}"},
        "against": {"path": "{other_policy}"},
        "reward_model": {"path": "{other_reward_model}"},
        "data": world(26, 16),
        "prompts": 8,
        "pairs": 2,
        "choose": Try("near_ties", {"prompts": 12}),
        "round": 2,
        "labeller": "judge",
        "labels_wanted": 4,
        "annotators": {"flip_share": 1.0},
        "judge": Try({"kind": "none"}, {"labeller": "judge", "judge": BY_LENGTH}),
        "temperature": 0.3,
        "response_tokens": 5,
        "batch_size": 3,
        "tokenizer": {"path": "{tokenizer}"},
        "precision": {"compute": "bfloat16"},
        "device": "cuda",
        "seed": 4,
        "threads": 2,
        "deterministic": True,
        "memory_budget_gib": 1e-6,
        "release_cache": "between_phases",
    },
    "OnlineConfig": {
        "data": world(16, 16),
        "ref_model": {"path": "{other_policy}"},
        "reward_model": {"path": "{other_reward_model}"},
        "total_episodes": 4,
        "batch_size": 8,
        "ppo_epochs": 1,
        "minibatches": 1,
        "micro_batch_size": 2,
        "rollout_batch_size": 4,
        "response_tokens": 5,
        "temperature": 0.5,
        "ensemble_penalty": Try(1.0, {"reward_model.path": "{ensemble}"}),
        "kl_coef": 0.5,
        "kl_control": "adaptive",
        "kl_target_nats_per_sequence": Try(1e-6, {"kl_control": "adaptive", "total_episodes": 16}),
        "kl_gain_per_update": Try(1.0, {"kl_control": "adaptive"}),
        "update_kl_limit_nats_per_token": 1e-9,
        "run_kl_limit_nats_per_sequence": 1e-9,
        "clip_range": 0.01,
        "missing_eos": "replace",
        "missing_eos_value": 3.0,
        "sample_every": 1,
        "sample_count": 2,
        "probe": {"every": 1, "size": 8},
    },
    "ProbeConfig": {
        "every": Try(2, PROBED),
        "size": Try(9, PROBED),
        "data": Try(world(24, 8), PROBED),
        "reward_model": Try("{other_reward_model}", PROBED),
        "ensemble_penalty": Try(3.0, PROBED | {"probe.reward_model": "{ensemble}"}),
    },
    "CriticFreeConfig": {"samples_per_prompt": 4},
    "GRPOConfig": {"kl_placement": "reward", "divide_by_std": False, "loss_mean": Try("tokens", LONGER)},
    "PPOConfig": {
        "critic_of": "{folder}/nowhere/checkpoints/step-00000001/model",
        "layout": "shared_trunk",
        "lora": Try({"rank": 2}, {"layout": "adapters"}),
        "value_optimizer": {"lr": 1e-3},
        "value_clip_range": 0.01,
        "vf_coef": 0.5,
        "gamma": 0.5,
        "gae_lambda": 0.5,
        "whiten_rewards": True,
        "whiten_advantages": False,
    },
    "DistilConfig": {
        "teacher": {"path": "{other_policy}"},
        "objective": "samples",
        "softening": 2.0,
        "data": world(22, 12),
        "eval_data": world(23, 2),
        "batch_size": 2,
        "micro_batch_size": 4,
        "rollout_batch_size": 2,
        "response_tokens": 5,
        "temperature": 0.5,
        "epochs": 2,
        "max_steps": 1,
        "eval_every": 1,
        "sample_count": 2,
    },
    "EvalConfig": {
        "what": "reward_model",
        "ensemble_penalty": Try(1.0, {"reward_model": "{ensemble}"}),
        "policies": {"other": "{policy}"},
        "reward_model": "{other_reward_model}",
        "data": world(17, 3),
        "comparisons": world(18, 3),
        "train_comparisons": world(19, 4),
        "world": {"samples_per_post": 3},
        "curves": {"other": "{curve}"},
        "judge": {"kind": "scores"},
        "tokenizer": {"path": "{tokenizer}"},
        "precision": {"compute": "bfloat16"},
        "temperatures": [0.5],
        "response_tokens": 5,
        "batch_size": 3,
        "best_of": [3],
        "second_task": world(25, 3),
        "people": {"source": ["{posts}"]},
        "bootstrap": 101,
        "example_count": 2,
        "device": "cuda",
        "seed": 4,
        "threads": 2,
        "deterministic": True,
        "memory_budget_gib": 1e-6,
        "release_cache": "between_phases",
    },
    "JudgeConfig": {
        "kind": "scores",
        "criterion": Try("the shorter one", BY_CLAUDE),
        "model": Try("claude-haiku-4-5", BY_CLAUDE),
        "api": Try("batches", BY_CLAUDE),
        "max_output_tokens": Try(64, BY_CLAUDE),
        "concurrency": Try(2, BY_CLAUDE),
        "retries": Try(1, BY_CLAUDE),
        "timeout_seconds": Try(5.0, BY_CLAUDE),
        "input_usd_per_mtok": Try(7.0, BY_CLAUDE),
        "output_usd_per_mtok": Try(7.0, BY_CLAUDE),
        "spend_limit_usd": Try(0.05, BY_CLAUDE),
        "command": Try(["false"], BY_PROGRAM),
        "function": Try("config_bases:likes_the_second", BY_FUNCTION),
        "recorded": Try("{posts}", BY_RECORD),
    },
    "PipelineConfig": {
        "stages": {"second": {"plugin": "echo", "config": {"steps": 1}}},
        "reuse": {"first": "nowhere"},
    },
    "SweepConfig": {
        "base": {"plugin": "echo", "config": {"steps": 1}},
        "cells": {name: {"plugin": "echo", "config": {"seed": seed}} for name, seed in (("slow", 0), ("fast", 3))},
        "rows": {"all": ["slow"], "other": ["fast"]},
        "slots": 2,
    },
    "StageConfig": {"plugin": "eval", "config": {"steps": 2}},
    "OptimizerConfig": {
        "lr": 1e-2,
        "betas": [0.5, 0.9],
        "eps": 1e-2,
        "weight_decay": 0.5,
        "schedule": "constant",
        "final_lr_share": 0.5,
        "warmup_share": 0.9,
        "max_grad_norm": 1e-3,
    },
    "PrecisionConfig": {"compute": "bfloat16", "allow_float16": Try(False, HALF)},
    "ModelConfig": {
        "path": "{policy}",
        "revision": Try("v2", {"model.path": "{policy}"}),
        "init": {"hidden_size": 32},
        "gradient_checkpointing": True,
        "attention": "eager",
    },
    "InitConfig": {
        "architecture": "gpt2",
        "hidden_size": 32,
        "layers": 2,
        "heads": 4,
        "kv_heads": 1,
        "intermediate_size": 24,
        "max_positions": 300,
        "tie_embeddings": False,
        "initializer_range": 0.1,
    },
    "TokenizerConfig": {
        "path": "{tokenizer}",
        "train_vocab_size": Try(360, TRAINED),
        "word_level_split": Try(True, TRAINED),
        "eos_token": "!",
        "pad_token": Try("[PADDING]", TRAINED),
    },
    "DataConfig": {
        "source": ["{posts}"],
        "split": Try("validation", {"data.source": ["{hub}"]}),
        "exclude": Try(["{some_posts}"], POSTS),
        "template": Try("dialogue", POSTS),
        "columns": Try({"post": "other_post"}, POSTS),
        "cleaning": Try({"duplicates": False}, POSTS),
        "max_rows": 8,
        "world_seed": 2,
        "max_prompt_tokens": 40,
        "max_response_tokens": 4,
        "max_bad_share": Try(0.0, SKIPPED),
    },
    "CleaningConfig": {
        "unicode": Try(False, POSTS),
        "whitespace": Try(False, POSTS),
        "duplicates": Try(False, POSTS),
        "overlap": Try(False, {**POSTS, "data.exclude": ["{some_posts}"]}),
    },
    "ColumnConfig": {
        "prompt": Try("other_prompt", POSTS),
        "subreddit": Try("other_subreddit", POSTS),
        "title": Try("other_title", POSTS),
        "post": Try("other_post", POSTS),
        "summary": Try("other_summary", POSTS),
        "chosen": Try("other_chosen", POSTS, IN_PAIRS),
        "rejected": Try("other_rejected", POSTS, IN_PAIRS),
        "text": Try("other_text", POSTS, IN_DOCUMENTS),
        "id": Try("other_id", SKIPPED),
    },
}
