"""A cluster and a cloud that are small scripts: they write down what they are told, and say what a test wants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SLURM = {
    "srun": "exit 1",
    "sbatch": 'count=$(cat "$STUB/count"); echo $((count + 1)) > "$STUB/count"\n'
    'cp "$1" "$STUB/$count.sh"; echo "Submitted batch job $count"',
    "squeue": 'echo "$@" >> "$STUB/asked"; cat "$STUB/queue"',
    "scancel": 'echo "$@" >> "$STUB/cancelled"',
    "scontrol": 'echo "$@" >> "$STUB/controlled"',
}
SKY = {"sky": 'echo "$@" >> "$STUB/sky"\ncase "$2" in queue) cat "$STUB/queue";; esac'}


@dataclass
class Stub:
    """The folder that the scripts write to; jobs are called 4711, 4712 and so on."""

    folder: Path

    def queue(self, text: str) -> None:
        (self.folder / "queue").write_text(text)

    def told(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def script(self, job: str) -> dict[str, str]:
        """The options of a batch script by name, and its last command as `run`."""
        lines = (self.folder / f"{job}.sh").read_text().splitlines()
        options = [line.removeprefix("#SBATCH --").partition("=") for line in lines if line.startswith("#SBATCH")]
        found = {name: value.strip("'") for name, _, value in options}
        return found | {"run": [line for line in lines if line.strip()][-1], "all": "\n".join(lines)}
