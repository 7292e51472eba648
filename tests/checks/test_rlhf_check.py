"""`rlhf check`: what it says of a good config, of links, of mistakes; and its exit codes."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import typer

from rlhf_console.cli import checking
from rlhf_engine.config import (
    DataConfig,
    InitConfig,
    ModelConfig,
    PPOConfig,
    RMConfig,
    SFTConfig,
    TokenizerConfig,
)
from rlhf_plugins.checking.hook import check
from rlhf_sdk.spec import CheckRequest, CheckRow

DATA = DataConfig(source=["world"], max_rows=40, max_prompt_tokens=160, max_response_tokens=32)
SFT = SFTConfig(
    model=ModelConfig(init=InitConfig(hidden_size=16, layers=1, heads=2, max_positions=256, initializer_range=0.1)),
    tokenizer=TokenizerConfig(train_vocab_size=400),
    data=DATA,
)
RM = RMConfig(model=ModelConfig(path="stage:sft"), data=DATA)
PPO = PPOConfig(
    model=ModelConfig(path="stage:sft"),
    reward_model=ModelConfig(path="stage:rm"),
    data=DATA,
    total_episodes=640,
    batch_size=64,
    minibatches=3,
    response_tokens=6,
)
STAGES = {
    "sft": {"plugin": "sft", "config": msgspec.to_builtins(SFT)},
    "rm": {"plugin": "rm", "config": msgspec.to_builtins(RM)},
}


def states(rows: list[CheckRow]) -> dict[str, str]:
    return {row.name: row.state for row in rows}


def test_ppo_before_any_stage_has_run() -> None:
    rows = list(check(CheckRequest("ppo", PPO, STAGES)))
    found = states(rows)
    assert "fail" not in found.values()
    assert found["link: model"] == found["link: reward_model"] == found["eos_rate"] == "skipped"
    measured = ("kl_before_first_update", "ratio_on_first_minibatch", "padding_invariance", "value_starts_as_score")
    assert {name: found[name] for name in measured} == dict.fromkeys(measured, "ok")
    assert {"memory", "setup", "end_token", "prompts_cut", "responses_cut", "run_seconds"} <= found.keys()


def test_a_link_to_no_stage_names_what_would_help() -> None:
    (row,) = check(CheckRequest("ppo", PPO, {}))
    assert (row.name, row.state) == ("links", "fail")
    assert "--from sft=RUN" in row.meaning


def test_a_broken_tokenizer_is_a_row_that_fails(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"model": broken')
    config = msgspec.structs.replace(SFT, tokenizer=TokenizerConfig(path=str(tmp_path)))
    last = list(check(CheckRequest("sft", config)))[-1]
    assert (last.name, last.state) == ("setup", "fail")
    assert str(tmp_path) in last.meaning


def rlhf_check(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rlhf_console", "check", *arguments]
    environment = os.environ | {"RLHF_RUNS": str(root), "NO_COLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


def test_a_plugin_without_a_check_is_said_to_have_none(tmp_path: Path) -> None:
    done = rlhf_check(tmp_path, "echo")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip().splitlines() == [
        "rlhf: plugin 'echo' has no check of its own; `rlhf run echo --dry-run` shows what it would do"
    ]


def test_the_table_fits_in_80_columns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        CheckRow("margins_before_first_update", "fail", 1.25e-7, "at most 1e-05", "what it is " * 9, "where to look"),
        CheckRow("end_token", "ok", 1.0, "at least 1", "not shown"),
        CheckRow("scores_centred", "skipped", meaning="why not"),
    ]
    monkeypatch.setattr(checking, "check_rows", lambda plugin, request, root: iter(rows))
    monkeypatch.setattr(checking, "resolve_check", lambda *arguments: {})
    with pytest.raises(typer.Exit) as ended:
        checking.check("sft")
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "where to look" in shown
    assert "why not" in shown
    assert "not shown" not in shown
    assert shown.strip().endswith("1 ok, 0 warn, 1 fail, 1 skipped")
    assert ended.value.exit_code == 4
