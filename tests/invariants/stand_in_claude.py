"""Stands in for the client of the Anthropic API: its answers say how it was made and what it was asked."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from anthropic.types import Message

from rlhf_engine.config import JudgeConfig
from rlhf_plugins.judges.questions import digest


class StandInClaude:
    """As much of the client as the judge uses; batches end at once."""

    def __init__(self, config: JudgeConfig) -> None:
        self.made = [config.retries, config.timeout_seconds]
        self.requests: list[dict[str, Any]] = []
        self.models = SimpleNamespace(retrieve=lambda name: None)
        batches = SimpleNamespace(create=self._submit, retrieve=lambda name: self._batch())
        self.messages = SimpleNamespace(create=self._answer, batches=batches)

    def with_options(self, *, max_retries: int) -> StandInClaude:
        return self

    def get(self, url: str, *, cast_to: type) -> str:
        """The results of the batch."""
        lines = [
            {"custom_id": asked["custom_id"], "result": {"type": "succeeded", "message": self._reply(asked["params"])}}
            for asked in self.requests
        ]
        return "\n".join(map(json.dumps, lines))

    def _submit(self, *, requests: list[dict[str, Any]]) -> Any:
        self.requests = requests
        return self._batch()

    def _batch(self) -> Any:
        return SimpleNamespace(id="batch", processing_status="ended", results_url="results")

    def _answer(self, **parameters: Any) -> Message:
        return Message.model_validate(self._reply(parameters))

    def _reply(self, parameters: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps({"reason": digest(self.made, parameters), "verdict": "A"})
        return {
            "id": "msg",
            "type": "message",
            "role": "assistant",
            "model": parameters["model"],
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 500, "output_tokens": 50},
        }
