"""Hooks that remember notes, and leave at a safe point of one's choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlhf_engine.config import JudgeConfig
from rlhf_engine.hooks import NoHooks
from rlhf_plugins.judges.asking import Verdicts, ask_once
from rlhf_plugins.judges.claude import ClaudeJudge
from rlhf_plugins.judges.questions import Judge, Question
from rlhf_plugins.judges.verdict_store import VerdictStore
from rlhf_sdk.trainer import Interrupted

QUESTIONS = [Question(f"prompt {row}", "a" * (row + 2), "bb" * (row + 2)) for row in range(6)]
BOTH_ORDERS = [shown for question in QUESTIONS for shown in (question, question.turned())]


class AskingHooks(NoHooks):
    """Leaves at safe point number `leave_at`."""

    def __init__(self, leave_at: int = 0) -> None:
        self.notes: list[str] = []
        self.left = leave_at

    def note(self, text: str) -> None:
        self.notes.append(text)

    def safe_point(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Interrupted


def claude(root: Path, run: str = "run", **changes: Any) -> ClaudeJudge:
    settings: dict[str, Any] = {"kind": "claude", "api": "messages", "concurrency": 4, "retries": 2}
    return ClaudeJudge(JudgeConfig(**(settings | changes)), VerdictStore(root, run))


def asked(judge: Judge, folder: Path, questions: list[Question] = BOTH_ORDERS, leave_at: int = 0) -> Verdicts:
    return ask_once(judge, questions, folder / "verdicts.jsonl", AskingHooks(leave_at))


def choices(verdicts: Verdicts, questions: list[Question] = BOTH_ORDERS) -> list[str | None]:
    """In order; "missing" where there is no answer."""
    return [verdicts[question].choice if question in verdicts else "missing" for question in questions]
