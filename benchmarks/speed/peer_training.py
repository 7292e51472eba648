"""TRL's trainers for SFT, reward models and DPO (the current release, on PYTHONPATH), with settings like ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainerCallback,
)
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

from benchmarks.speed.rows import Row, comparisons, demonstrations, in_our_order
from benchmarks.speed.task import LR, POLICY, REWARD_MODEL, Task
from benchmarks.speed.turns import Turns


class TakeTurns(TrainerCallback):  # type: ignore[misc]
    """Waits for its turn after each optimizer step; a turn has everything in it, from the batch to the callbacks."""

    def __init__(self, turns: Turns) -> None:
        self.turns, self.losses = turns, list[torch.Tensor]()

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.turns.ready()
        self.turns.begin()

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.turns.end(loss=float(sum(self.losses)))
        self.losses.clear()
        self.turns.begin()


class TakeCheckpoints(TrainerCallback):  # type: ignore[misc]
    """After the first optimizer step: a turn is a checkpoint saved, or loaded."""

    def __init__(self, turns: Turns, *, load: bool) -> None:
        self.turns, self.load, self.trainer = turns, load, None

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        trainer: Any = self.trainer
        folder = f"{args.output_dir}/checkpoint-{state.global_step}"
        trainer._save_checkpoint(trainer.model, trial=None)
        self.turns.ready()
        while True:
            self.turns.begin()
            if self.load:
                trainer._load_from_checkpoint(folder)
                trainer._load_optimizer_and_scheduler(folder)
            else:
                trainer._save_checkpoint(trainer.model, trial=None)
            self.turns.end()


def saving(task: Task, turns: Turns) -> None:
    _checkpoints(task, TakeCheckpoints(turns, load=False))


def loading(task: Task, turns: Turns) -> None:
    _checkpoints(task, TakeCheckpoints(turns, load=True))


def _checkpoints(task: Task, callback: TakeCheckpoints) -> None:
    callback.trainer = trainer = _sft_trainer(task)
    trainer.add_callback(callback)
    trainer.train()


def sft(task: Task, turns: Turns) -> None:
    _train(_sft_trainer(task), turns)


def _sft_trainer(task: Task) -> Any:
    tokenizer, model = _loaded(task, AutoModelForCausalLM, POLICY)
    rows = in_our_order(demonstrations(task, tokenizer), task)
    data = Dataset.from_list([_demonstration(row) for row in rows])
    config = SFTConfig(completion_only_loss=True, **_settings(task))
    return SFTTrainer(model=model, args=config, train_dataset=data, processing_class=tokenizer)


def rm(task: Task, turns: Turns) -> None:
    tokenizer, model = _loaded(task, AutoModelForSequenceClassification, REWARD_MODEL, num_labels=1)
    rows = in_our_order(comparisons(task, tokenizer), task)
    whole = [[row.prompt + response for response in row.responses] for row in rows]
    data = Dataset.from_list([{"chosen_ids": chosen, "rejected_ids": rejected} for chosen, rejected in whole])
    config = RewardConfig(**_settings(task))
    _train(RewardTrainer(model=model, args=config, train_dataset=data, processing_class=tokenizer), turns)


def dpo(task: Task, turns: Turns) -> None:
    tokenizer, model = _loaded(task, AutoModelForCausalLM, POLICY)
    reference = AutoModelForCausalLM.from_pretrained(task.path(POLICY), dtype=torch.float32)
    rows = in_our_order(comparisons(task, tokenizer), task)
    data = Dataset.from_list([_texts(row, tokenizer) for row in rows])
    config = DPOConfig(beta=0.1, **_settings(task))
    trainer = DPOTrainer(model=model, ref_model=reference, args=config, train_dataset=data, processing_class=tokenizer)
    _train(trainer, turns)


def _train(trainer: Any, turns: Turns) -> None:
    """Trains; what each `training_step` returns of the loss is kept for the comparison with ours."""
    callback, step = TakeTurns(turns), trainer.training_step

    def training_step(*arguments: Any, **named: Any) -> torch.Tensor:
        loss: torch.Tensor = step(*arguments, **named)
        callback.losses.append(loss.detach())
        return loss

    trainer.training_step = training_step
    trainer.add_callback(callback)
    trainer.train()


def _loaded(task: Task, kind: Any, name: str, **more: Any) -> tuple[Any, Any]:
    tokenizer = AutoTokenizer.from_pretrained(task.path(name))
    return tokenizer, kind.from_pretrained(task.path(name), dtype=torch.float32, **more)


def _demonstration(row: Row) -> dict[str, Sequence[int]]:
    response = row.responses[0]
    mask = [0] * len(row.prompt) + [1] * len(response)
    return {"input_ids": row.prompt + response, "completion_mask": mask}


def _texts(row: Row, tokenizer: Any) -> dict[str, str]:
    """The trainer makes tokens of words itself, and adds EOS where it is not there."""
    chosen, rejected = (" " + tokenizer.decode(response) for response in row.responses)
    return {"prompt": tokenizer.decode(row.prompt), "chosen": chosen, "rejected": rejected}


def _settings(task: Task) -> dict[str, Any]:
    return {
        "output_dir": task.path("output"),
        "per_device_train_batch_size": task.rows,
        "num_train_epochs": 1,
        "learning_rate": LR,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "bf16": task.precision == "bfloat16",
        "gradient_checkpointing": False,
        "max_length": None,
        "train_sampling_strategy": "sequential",
        "use_cpu": task.device == "cpu",
        "dataloader_pin_memory": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": 0,
    }
