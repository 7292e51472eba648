"""The judge that a config names."""

from __future__ import annotations

import os
from pathlib import Path

from rlhf_engine.config import JudgeConfig
from rlhf_engine.errors import ConfigError
from rlhf_engine.hooks import Hooks
from rlhf_plugins.judges.command import CommandJudge
from rlhf_plugins.judges.function import FunctionJudge
from rlhf_plugins.judges.questions import Judge
from rlhf_plugins.judges.recorded import RecordedJudge
from rlhf_plugins.judges.verdict_store import VerdictStore

PERMISSION = "RLHF_JUDGE_PROGRAMS"


def judge_of(config: JudgeConfig, *, run: Path, hooks: Hooks) -> Judge | None:
    """None where there is none, or where scores decide. Raises `ConfigError` before anything is asked.

    `run`: the run's directory, whose parent holds the verdicts that its runs have paid for.
    """
    if config.kind == "claude":
        return _claude(config, run, hooks)
    if config.kind == "recorded":
        return RecordedJudge(Path(config.recorded))
    if config.kind == "command":
        _demand_permission("command")
        return CommandJudge(config.command, config.timeout_seconds)
    if config.kind == "python":
        _demand_permission("function")
        return FunctionJudge(config.function)
    return None


def _claude(config: JudgeConfig, run: Path, hooks: Hooks) -> Judge:
    from rlhf_plugins.judges.claude import ClaudeJudge

    judge = ClaudeJudge(config, VerdictStore(run.parent, run.name))
    judge.check(hooks)
    return judge


def _demand_permission(key: str) -> None:
    """A run directory from somebody else must not run what it names."""
    if os.environ.get(PERMISSION) != "allow":
        raise ConfigError(
            f"judge.{key} runs a program that the run's config names: set {PERMISSION}=allow in the environment "
            "if it is yours"
        )
