"""The command line as its users have it: in subprocesses, on the echo trainer."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROFILE = str(Path(__file__).parent / "echo_profile.toml")
Done = subprocess.CompletedProcess[str]


def rlhf(root: Path, *arguments: str) -> Done:
    environment = os.environ | {"RLHF_RUNS": str(root), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "rlhf_console", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_a_run_from_start_to_samples(tmp_path: Path) -> None:
    done = rlhf(tmp_path, "run", "echo", "--set", "echo.steps=3", "--name", "first", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "finished"
    (listed,) = json.loads(rlhf(tmp_path, "ls", "--json").stdout)
    assert (listed["step"], listed["total_steps"], listed["state"]) == (3, 3, "finished")
    shown = json.loads(rlhf(tmp_path, "show", "first", "--json").stdout)
    assert shown["record"]["provenance"]["steps"] == "--set"
    (sample,) = json.loads(rlhf(tmp_path, "samples", "latest", "-n", "1", "--json").stdout)
    assert sample["response"] == "hello"
    assert rlhf(tmp_path, "watch", "latest", "--plain").returncode == 0
    assert "echo/sum" in rlhf(tmp_path, "show", "latest").stdout


def test_a_pipeline_shows_its_stages_and_reuses_a_finished_one(tmp_path: Path) -> None:
    first = rlhf(tmp_path, "run", "pipeline", "--profile", PROFILE, "--name", "pipe")
    assert first.returncode == 0, first.stderr
    stages = json.loads(rlhf(tmp_path, "show", "pipe", "--json").stdout)["stages"]
    assert [stage["state"] for stage in stages] == ["finished", "finished"]
    echo = stages[0]["run"]
    again = rlhf(tmp_path, "run", "pipeline", "--profile", PROFILE, "--from", f"echo={echo}", "--name", "reused")
    assert again.returncode == 0, again.stderr
    reused = json.loads(rlhf(tmp_path, "show", "reused", "--json").stdout)["stages"]
    assert len(reused) == 1
    assert echo in reused[0]["parents"].values()


def test_detached_stop_and_resume_end_as_an_uninterrupted_run(tmp_path: Path) -> None:
    settings = ["--set", "echo.steps=40", "--set", "echo.delay_seconds=0.05"]
    started = rlhf(tmp_path, "run", "echo", *settings, "--detach", "--name", "stopped")
    assert started.returncode == 0, started.stderr
    time.sleep(0.6)
    assert rlhf(tmp_path, "stop", "stopped").stdout.strip().endswith("stopped")
    resumed = rlhf(tmp_path, "resume", "stopped")
    assert resumed.returncode == 0, resumed.stderr
    straight = rlhf(tmp_path, "run", "echo", "--set", "echo.steps=40", "--name", "straight")
    assert straight.returncode == 0, straight.stderr
    metrics = [json.loads(rlhf(tmp_path, "show", name, "--json").stdout)["metrics"] for name in ("stopped", "straight")]
    assert metrics[0] == metrics[1]


def test_ctrl_c_stops_with_a_checkpoint(tmp_path: Path) -> None:
    environment = os.environ | {"RLHF_RUNS": str(tmp_path)}
    command = [sys.executable, "-m", "rlhf_console", "run", "echo", "--set", "echo.steps=500", "--set"]
    process = subprocess.Popen([*command, "echo.delay_seconds=0.05"], env=environment, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("echo-*/events.jsonl")):
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    (listed,) = json.loads(rlhf(tmp_path, "ls", "--json").stdout)
    assert listed["state"] == "stopped"
    assert list(tmp_path.glob("echo-*/checkpoints/step-*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "ppo", "--profile", "demo"], "--from"),
        (["run", "nothing"], "unknown plugin"),
        (["show", "nothing"], "no run"),
        (["run", "echo", "--set", "echo.steps=0"], "steps = 0"),
        (["run", "echo", "--from", "sft"], "STAGE=RUN"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = rlhf(tmp_path / "runs", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_lists_and_options_are_plain_or_json(tmp_path: Path) -> None:
    names = {plugin["name"] for plugin in json.loads(rlhf(tmp_path, "plugins", "--json").stdout)}
    assert {"echo", "pipeline", "sft", "rm", "ppo", "eval", "pretrain"} <= names
    assert "demo" in {profile["name"] for profile in json.loads(rlhf(tmp_path, "profiles", "--json").stdout)}
    options = {option["key"]: option for option in json.loads(rlhf(tmp_path, "config", "ppo", "--json").stdout)}
    assert options["kl_coef"]["default"] == 0.05
    assert "Huang" in options["kl_coef"]["source"]
    findings = json.loads(rlhf(tmp_path, "doctor", "--json").stdout)
    assert {"Python", "disk", "run folder"} <= {finding["what"] for finding in findings}


def test_a_dry_run_writes_nothing_and_names_every_origin(tmp_path: Path) -> None:
    judge = ["--set", "eval.judge.kind=claude"]
    done = rlhf(tmp_path / "runs", "run", "pipeline", "--profile", "demo", *judge, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    planned = json.loads(done.stdout)
    assert any("policy" in row["what"] for rows in planned["plan"].values() for row in rows)
    assert planned["provenance"]["stages.ppo.config.kl_coef"].startswith("profile demo")
    assert planned["cost"][0].startswith("eval: at most 4,800 questions to claude-sonnet-4-6 by batches")
    assert not (tmp_path / "runs").exists()


def test_a_damaged_run_is_named_and_the_others_are_listed(tmp_path: Path) -> None:
    for name in ("good", "bad"):
        assert rlhf(tmp_path, "run", "echo", "--set", "echo.steps=1", "--name", name).returncode == 0
    (damaged,) = tmp_path.glob("bad-*")
    (damaged / "status.json").write_text('{"state": "run')
    done = rlhf(tmp_path, "ls", "--json")
    assert done.returncode == 0, done.stderr
    assert [run["run"].split("-")[0] for run in json.loads(done.stdout)] == ["good"]
    assert "status.json is damaged" in done.stderr


def test_a_state_of_a_newer_version_is_passed_over(tmp_path: Path) -> None:
    assert rlhf(tmp_path, "run", "echo", "--set", "echo.steps=1", "--name", "newer").returncode == 0
    (run,) = tmp_path.glob("newer-*")
    (run / "exit.json").unlink()
    status = json.loads((run / "status.json").read_text()) | {"state": "running"}
    (run / "status.json").write_text(json.dumps(status))
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    states = [event for event in events if event["kind"] == "state"]
    with (run / "events.jsonl").open("a") as file:
        file.write(json.dumps(states[-1] | {"state": "meditating", "seq": events[-1]["seq"] + 1}) + "\n")
    (listed,) = json.loads(rlhf(tmp_path, "ls", "--json").stdout)
    assert listed["state"] == "lost"


def test_without_a_terminal_there_is_nothing_to_show_where_nothing_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from rlhf_console.tui.main import main; main()"]
    environment = os.environ | {"RLHF_RUNS": str(tmp_path), "TERM": "xterm-256color"}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, timeout=60
    )
    assert done.returncode == 2
    assert "no run in" in done.stderr and "--demo" in done.stderr


def test_a_plan_shows_layouts_side_by_side_and_writes_nothing(tmp_path: Path) -> None:
    models = ["--set", "ppo.model.path=gpt2", "--set", "ppo.reward_model.path=gpt2"]
    plans = json.loads(rlhf(tmp_path, "plan", "ppo", *models, "--layouts", "--json").stdout)["layouts"]
    peaks = {layout: rows[-1]["bytes"] for layout, rows in plans.items()}
    assert max(peaks["adapters"], peaks["shared_trunk"]) < peaks["separate"]
    one = rlhf(tmp_path, "plan", "ppo", *models, "--set", "ppo.layout=adapters", "--json")
    assert json.loads(one.stdout)["rows"] == plans["adapters"]
    assert "in backward: fits" in rlhf(tmp_path, "plan", "ppo", *models, "--gpu", "80GB").stdout
    assert not any(tmp_path.iterdir())


def test_what_has_no_plan_or_no_layouts_is_said(tmp_path: Path) -> None:
    assert "'echo' has no memory plan" in rlhf(tmp_path, "plan", "echo").stderr
    refused = rlhf(tmp_path, "plan", "sft", "--layouts")
    assert (refused.returncode, "sft has no key 'layout'" in refused.stderr) == (2, True)
