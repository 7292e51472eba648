"""What systemd does to runs at logout, as a stand-in for busctl tells it."""

from pathlib import Path

import pytest

from rlhf_console import doctor
from rlhf_console.doctor import Finding, examine

ASKED = (
    "get-property org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager "
    "KillUserProcesses KillOnlyUsers KillExcludeUsers"
)


def at_logout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, *, user: str = "ann") -> Finding:
    """What doctor finds where `busctl` is this shell script."""
    busctl = tmp_path / "busctl"
    busctl.write_text(f'#!/bin/sh\n[ "$*" = "{ASKED}" ] || exit 9\n{script}\n')
    busctl.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("LOGNAME", user)
    (finding,) = [finding for finding in examine(tmp_path) if finding.what == "logout"]
    return finding


def answer(kill: str, only: str = "as 0", excluded: str = "as 0") -> str:
    return f"echo 'b {kill}'; echo '{only}'; echo '{excluded}'"


def test_a_system_that_ends_processes_at_logout_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = at_logout(tmp_path, monkeypatch, answer("true"))
    assert (finding.status, "processes of ann" in finding.found) == ("warn", True)
    assert "enable-linger" in finding.advice and "systemd-run --user --scope" in finding.advice


@pytest.mark.parametrize(
    ("script", "user", "status"),
    [
        (answer("false"), "ann", "ok"),
        (answer("true"), "root", "ok"),
        (answer("true", excluded='as 2 "bob" "ann"'), "ann", "ok"),
        (answer("true", excluded='as 1 "bob"'), "root", "warn"),
        (answer("true", only='as 1 "bob"'), "ann", "ok"),
        (answer("false", only='as 1 "ann"'), "ann", "warn"),
        (answer("false", only='as 1 "ann"', excluded='as 1 "ann"'), "ann", "ok"),
    ],
)
def test_whose_processes_are_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, user: str, status: str
) -> None:
    assert at_logout(tmp_path, monkeypatch, script, user=user).status == status


@pytest.mark.parametrize("script", ["exit 1", "echo 'b true'", "sleep 9"])
def test_where_nothing_answers_there_is_no_systemd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(doctor, "BUS_SECONDS", 0.2)
    assert at_logout(tmp_path, monkeypatch, script) == Finding("ok", "logout", "no systemd here")
