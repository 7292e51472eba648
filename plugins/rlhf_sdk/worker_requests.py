"""What a worker does at a safe point for those who asked: checkpoints, samples, live values."""

from __future__ import annotations

import traceback
from typing import Any

from rlhf_sdk.commands import AnyCommand, Checkpoint, Pause, SampleNow, SetValue
from rlhf_sdk.events import ASKED, ValueSet
from rlhf_sdk.live_values import value_of, with_value
from rlhf_sdk.spec import PluginSpec
from rlhf_sdk.trainer import Reconfigurable, Sampler, Trainer, UserError
from rlhf_sdk.worker_run import WorkerRun


class Requests:
    """`check` says at once what can't be done; `attend` does the rest as soon as the trainer allows it.

    `repeats` is what an earlier attempt was told to set after the checkpoint that this one goes on from.
    """

    def __init__(self, run: WorkerRun, spec: PluginSpec, trainer: Trainer, repeats: list[ValueSet]) -> None:
        self._run, self._spec, self._trainer = run, spec, trainer
        self._repeats = repeats

    def check(self, command: AnyCommand) -> None:
        """Raises `UserError` for what this run can't do."""
        match command:
            case Checkpoint() | Pause(release=True) if "checkpoint" not in self._spec.capabilities:
                raise UserError(f"plugin {self._spec.name!r} writes no checkpoints")
            case SampleNow() if not isinstance(self._trainer, Sampler):
                raise UserError(f"plugin {self._spec.name!r} can't sample on request")
            case SetValue():
                with_value(self._run.config, command.key, command.value)

    def attend(self, *, held: bool) -> None:
        """Does what was asked for and is possible here; called again and again while the run is held."""
        run = self._run
        if not run.inside_step:
            self._repeat_values()
            self._set_values()
        if run.control.checkpoint_reason and run.checkpoint is not None and run.can_leave():
            run.checkpoint(run.control.checkpoint_reason)
        for command in run.control.asked(SampleNow):
            if not run.inside_step or (held and run.can_leave()):
                self._sample(command)

    def _repeat_values(self) -> None:
        while self._repeats and self._repeats[0].step <= self._run.step:
            event = self._repeats.pop(0)
            try:
                self._set(event.key, event.value, again=True)
            except UserError as error:
                self._run.alert("warning", "value_not_repeated", f"{event.key} could not be set again: {error}")

    def _set_values(self) -> None:
        for command in self._run.control.asked(SetValue):
            try:
                previous = self._set(command.key, command.value)
            except UserError as error:
                self._run.control.answer(command, "refused", str(error))
                continue
            self._repeats = [event for event in self._repeats if event.key != command.key]
            details = {"key": command.key, "value": command.value, "previous": previous}
            self._run.control.answer(command, "done", details=details)

    def _set(self, key: str, value: Any, *, again: bool = False) -> Any:
        """Returns the value before. Raises `UserError`, and nothing has changed."""
        config = with_value(self._run.config, key, value)
        if isinstance(self._trainer, Reconfigurable):
            self._trainer.reconfigure(config)
        previous = value_of(self._run.config, key)
        self._run.config = config
        self._run.live_values[key] = value
        self._run.emit(ValueSet(key=key, value=value, previous=previous, again=again))
        return previous

    def _sample(self, command: SampleNow) -> None:
        """A failure is the asker's to see, not the run's end."""
        assert isinstance(self._trainer, Sampler), "checked when the command was read"
        try:
            with self._run.undisturbed(), self._run.phase("sample"):
                responses = self._trainer.sample(command.prompts)
        except UserError as error:
            return self._run.control.answer(command, "refused", str(error))
        except Exception as error:
            traceback.print_exception(error)
            return self._run.control.answer(command, "refused", f"{type(error).__name__}: {error}")
        first = self._run.sample_seq + 1
        for index, said in enumerate(responses):
            self._run.sample(
                tag=ASKED,
                index=index,
                prompt=said.prompt,
                response=said.response,
                reference=said.reference,
                ended=said.ended,
                metrics=said.metrics,
            )
        message = f"{len(responses)} responses"
        return self._run.control.answer(command, "done", message, {"sample_seq": [first, self._run.sample_seq]})
