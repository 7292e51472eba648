"""TRL's PPO (1.12.0, the last release that had it, on PYTHONPATH), with settings like ours."""

from __future__ import annotations

from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    TrainerCallback,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer

from benchmarks.speed.rows import demonstrations
from benchmarks.speed.task import LR, POLICY, PPO_EPOCHS, REWARD_MODEL, Task
from benchmarks.speed.turns import Turns

UPDATES, ROLLOUT_ROWS = 64, 64


class TakeTurns(TrainerCallback):  # type: ignore[misc]
    """Waits for its turn after each update; a turn has everything in it, from the prompts to the callbacks."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.turns.ready()
        self.turns.begin()

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        said = state.log_history[-1]
        self.turns.end(
            kl=said["objective/kl"],
            entropy=said["objective/entropy"] / args.response_length,
            score=said["objective/scores"],
            ended=said["val/num_eos_tokens"] / args.batch_size,
        )
        self.turns.begin()


def ppo(task: Task, turns: Turns) -> None:
    tokenizer = AutoTokenizer.from_pretrained(task.path(POLICY))
    prompts = [{"input_ids": row.prompt} for row in demonstrations(task, tokenizer)]
    trainer = PPOTrainer(
        args=_config(task),
        processing_class=tokenizer,
        model=_load(AutoModelForCausalLM, task, POLICY),
        ref_model=_load(AutoModelForCausalLM, task, POLICY),
        reward_model=_load(AutoModelForSequenceClassification, task, REWARD_MODEL),
        value_model=_load(AutoModelForSequenceClassification, task, REWARD_MODEL),
        train_dataset=Dataset.from_list(prompts),
        eval_dataset=Dataset.from_list(prompts[:1]),
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[TakeTurns(turns)],
    )
    trainer.train()


def _load(kind: Any, task: Task, name: str) -> Any:
    labels = {"num_labels": 1} if name == REWARD_MODEL else {}
    return kind.from_pretrained(task.path(name), dtype=torch.float32, **labels)


def _config(task: Task) -> PPOConfig:
    """Mixed precision comes from the environment: the trainer's own flag does nothing."""
    micro_batch = min(task.shape.micro_batch, task.rows)
    return PPOConfig(
        output_dir=task.path("output"),
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=task.rows // micro_batch,
        num_mini_batches=1,
        num_ppo_epochs=PPO_EPOCHS,
        total_episodes=UPDATES * task.rows,
        local_rollout_forward_batch_size=min(task.rows, ROLLOUT_ROWS),
        response_length=task.shape.response,
        stop_token=task.settings.get("stop_token"),
        temperature=1.0,
        missing_eos_penalty=1.0,
        learning_rate=LR,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        num_sample_generations=0,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=task.device == "cpu",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=0,
    )
