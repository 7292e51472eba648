"""What this machine offers for training, found without importing torch."""

from __future__ import annotations

import getpass
import os
import platform
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import psutil

LOW_DISK_BYTES = 5 * 2**30
LOW_MEMORY_BYTES = 4 * 2**30
BUS_SECONDS = 5.0
NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "fuse", "lustre", "gpfs")


@dataclass(frozen=True)
class Finding:
    """One line of the examination; `advice` says what to do where the status is not ok."""

    status: Literal["ok", "warn", "fail"]
    what: str
    found: str
    advice: str = ""


def examine(run_root: Path) -> list[Finding]:
    """Everything that a run needs, one finding a line. Keys are said to be present or not, never shown."""
    return [
        _python(),
        _torch(),
        *_devices(),
        _memory(),
        _run_root(run_root),
        _disk(run_root),
        _file_system(run_root),
        _terminal(),
        _tmux(),
        _logout(),
        _key("HF_TOKEN", "gated models and data can't be loaded; `hf auth login` or set HF_TOKEN"),
        _key("ANTHROPIC_API_KEY", "a Claude model can't judge; set ANTHROPIC_API_KEY"),
        _hub(),
    ]


def _python() -> Finding:
    return Finding("ok", "Python", f"{platform.python_version()} at {sys.executable}")


def _torch() -> Finding:
    try:
        return Finding("ok", "torch", f"{version('torch')}, transformers {version('transformers')}")
    except PackageNotFoundError as error:
        return Finding("fail", "torch", f"{error.name} is not installed", f"pip install {error.name}")


def _devices() -> list[Finding]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return [Finding("warn", "GPU", "no NVIDIA driver", "training runs on the CPU: small models only")]
    findings = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        name = f"{pynvml.nvmlDeviceGetName(handle)}, {memory.free / 2**30:.0f} of {memory.total / 2**30:.0f} GiB free"
        findings.append(Finding("ok", f"GPU {index}", name))
    return findings


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    found = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"
    if memory.available < LOW_MEMORY_BYTES:
        return Finding("warn", "memory", found, "close other programs, or choose a smaller model")
    return Finding("ok", "memory", found)


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _run_root(root: Path) -> Finding:
    if os.access(_existing(root), os.W_OK):
        return Finding("ok", "run folder", str(root))
    return Finding("fail", "run folder", f"{root} can't be written", "give another with --runs or RLHF_RUNS")


def _disk(root: Path) -> Finding:
    free = shutil.disk_usage(_existing(root)).free
    if free < LOW_DISK_BYTES:
        return Finding(
            "warn", "disk", f"{free / 2**30:.1f} GiB free", "checkpoints may not fit; free some or move RLHF_RUNS"
        )
    return Finding("ok", "disk", f"{free / 2**30:.0f} GiB free")


def _file_system(root: Path) -> Finding:
    folder = str(_existing(root).resolve())
    mounts = [part for part in psutil.disk_partitions(all=True) if folder.startswith(part.mountpoint)]
    kind = max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else "unknown"
    if kind.startswith(NETWORK_FILE_SYSTEMS):
        return Finding(
            "warn", "file system", kind, "works, but another host judges whether a run lives by its heartbeat"
        )
    return Finding("ok", "file system", kind)


def _terminal() -> Finding:
    term = os.environ.get("TERM", "")
    if not sys.stdout.isatty() or term in ("", "dumb"):
        return Finding("warn", "terminal", term or "none", "rlhf-console needs a terminal; `rlhf watch` works anywhere")
    columns, lines = shutil.get_terminal_size()
    if columns < 80 or lines < 24:
        return Finding("warn", "terminal", f"{term}, {columns}x{lines}", "at least 80x24 shows everything")
    return Finding("ok", "terminal", f"{term}, {columns}x{lines}")


def _tmux() -> Finding:
    if os.environ.get("TMUX"):
        return Finding("ok", "tmux", "in a session")
    if shutil.which("tmux"):
        return Finding("ok", "tmux", "installed")
    return Finding("warn", "tmux", "not installed", "runs go on without it; with it, the screen does too")


def _logout() -> Finding:
    """Whether systemd ends this user's processes at logout: no session of their own protects runs against that."""
    said = _login_settings()
    if said is None:
        return Finding("ok", "logout", "no systemd here")
    kills, only, excluded = said[0] == ["b", "true"], said[1][2:], said[2][2:] or ["root"]
    user = getpass.getuser()
    if user in excluded or not (user in only if only else kills):
        return Finding("ok", "logout", "runs survive it")
    return Finding(
        "warn",
        "logout",
        f"systemd ends the processes of {user} (KillUserProcesses)",
        "`loginctl enable-linger` once, then start runs by `systemd-run --user --scope rlhf run ...`",
    )


def _login_settings() -> list[list[str]] | None:
    """What systemd-logind says of KillUserProcesses, KillOnlyUsers and KillExcludeUsers, each as its type, then values;
    None where nothing answers."""
    command = ["busctl", "get-property", "org.freedesktop.login1", "/org/freedesktop/login1"]
    command += ["org.freedesktop.login1.Manager", "KillUserProcesses", "KillOnlyUsers", "KillExcludeUsers"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=BUS_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    settings = [shlex.split(line) for line in said.splitlines()]
    return settings if len(settings) == 3 else None


def _key(name: str, advice: str) -> Finding:
    stored = name == "HF_TOKEN" and (Path.home() / ".cache" / "huggingface" / "token").exists()
    if os.environ.get(name) or stored:
        return Finding("ok", name, "present")
    return Finding("warn", name, "not set", advice)


def _hub() -> Finding:
    home = os.environ.get("HF_HOME") or str(Path.home() / ".cache" / "huggingface")
    if os.environ.get("HF_HUB_OFFLINE"):
        return Finding("warn", "hub", "offline by HF_HUB_OFFLINE", f"only what is in {home} can be loaded")
    return Finding("ok", "hub", f"cache in {home}")
