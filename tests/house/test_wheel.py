"""A built wheel, installed into an environment of its own, runs the pipeline outside the checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.wheel, pytest.mark.slow]
CHECKOUT = Path(__file__).parents[2]
SMALL = [
    "sft.data.max_rows=64", "sft.eval_data.max_rows=8", "rm.data.max_rows=8", "rm.eval_data.max_rows=4",
    "rm.norm_data.max_rows=8", "rm.norm_rows=8", "ppo.data.max_rows=8", "ppo.total_episodes=8", "ppo.batch_size=4",
    "eval.data.max_rows=8", "eval.bootstrap=100",
]  # fmt: skip


def call(*command: str | Path, cwd: Path, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, cwd=CHECKOUT)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts' folder of an environment that has the wheel, and sees this one's other packages."""
    home = tmp_path_factory.mktemp("environment")
    call(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    python = home / "bin" / "python"
    call(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel, cwd=home)
    own = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip())
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


def outside() -> dict[str, str]:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "RLHF_RUNS")}
    return environment | {"OMP_WAIT_POLICY": "PASSIVE"}


def test_the_wheel_holds_the_packages_and_profiles_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"rlhf_console", "rlhf_sdk", "rlhf_plugins", "rlhf_engine"}
    packed = {Path(name).stem for name in names if name.startswith("rlhf_console/builtin_profiles/")}
    assert packed == {path.stem for path in (CHECKOUT / "profiles").glob("*.toml")}


def test_the_command_line_is_the_wheels(installed: Path, tmp_path: Path) -> None:
    where = call(installed / "python", "-c", "import rlhf_console; print(rlhf_console.__file__)", cwd=tmp_path)
    assert where.startswith(str(installed.parent))
    profiles = json.loads(call(installed / "rlhf", "profiles", "--json", cwd=tmp_path, environment=outside()))
    assert "demo" in {profile["name"] for profile in profiles}


def test_the_pipeline_runs_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    settings = [part for setting in SMALL for part in ("--set", setting)]
    command = ["run", "pipeline", "--profile", "demo", *settings, "--json"]
    found = json.loads(call(installed / "rlhf", *command, cwd=tmp_path, environment=outside()))
    assert found["state"] == "finished"
    assert {"rm", "eval"} <= set(found["results"])
    model = sorted((tmp_path / "runs").glob("*.ppo/checkpoints/step-00000002/model/model.safetensors"))
    assert len(model) == 1
