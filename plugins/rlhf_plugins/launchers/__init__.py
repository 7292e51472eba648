"""Built-in launchers for machines that are not this one: their options, and nothing that imports a scheduler."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from rlhf_sdk.launching.contract import LauncherSpec


class SlurmOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a job asks of Slurm, for each of its machines; empty and 0 leave it to the cluster."""

    partition: Annotated[str, Meta(description="sbatch --partition")] = ""
    account: Annotated[str, Meta(description="sbatch --account")] = ""
    qos: Annotated[str, Meta(description="sbatch --qos")] = ""
    constraint: Annotated[str, Meta(description="sbatch --constraint")] = ""
    hours: Annotated[float, Meta(gt=0, description="limit of the job; it checkpoints and goes on in a new one")] = 24.0
    grace_seconds: Annotated[
        int, Meta(ge=10, description="how long before the limit it is told to checkpoint (sbatch --signal=USR1@...)")
    ] = 300
    requeues: Annotated[
        int, Meta(ge=0, description="how often it may go on after its limit; being pre-empted is not counted")
    ] = 100
    gpus: Annotated[int, Meta(ge=-1, description="GPUs on each machine; -1: one a process")] = -1
    cpus: Annotated[int, Meta(ge=0, description="cores on each machine")] = 0
    memory_gib: Annotated[float, Meta(ge=0, description="memory on each machine")] = 0.0
    setup: Annotated[list[str], Meta(description="shell lines before the run begins, such as module load")] = []
    sbatch: Annotated[
        dict[str, str], Meta(description="further sbatch options by long name, such as sbatch.reservation=week")
    ] = {}


class SkyOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a SkyPilot task asks for."""

    bucket: Annotated[str, Meta(description="where runs are copied to and fetched from, such as s3://my-runs")]
    infra: Annotated[str, Meta(description="cloud, region or zone, such as aws/us-east-1; empty: the cheapest")] = ""
    accelerators: Annotated[str, Meta(description="such as H100:8; empty: none")] = ""
    cpus: Annotated[str, Meta(description="such as 8+; empty: whatever comes with it")] = ""
    memory_gib: Annotated[str, Meta(description="such as 64+; empty: whatever comes with it")] = ""
    disk_gib: Annotated[int, Meta(ge=30, description="disk of each machine")] = 256
    spot: Annotated[bool, Meta(description="spot machines: cheaper, and taken away at any time")] = True
    restarts: Annotated[int, Meta(ge=0, description="how often a run that failed is begun again")] = 0
    workdir: Annotated[
        str, Meta(description="folder that is copied there, and where relative paths are meant from; empty: this one")
    ] = ""
    setup: Annotated[str, Meta(description="shell line that installs rlhf-console there")] = "pip install rlhf-console"
    mounts: Annotated[dict[str, str], Meta(description="path on the machines -> a folder here or in a bucket")] = {}
    secrets: Annotated[list[str], Meta(description="environment variables to pass on; no file keeps their values")] = []


slurm = LauncherSpec(
    name="slurm",
    summary="A job of a Slurm cluster, through submitit; USR1 before its limit: checkpoint, requeue, resume",
    options=SlurmOptions,
    launcher="rlhf_plugins.launchers.slurm:SlurmLauncher",
    arrays=True,
    meets=True,
)

sky = LauncherSpec(
    name="sky",
    summary="A managed job of SkyPilot in a cloud, on spot machines; the run is copied to a bucket as it goes",
    options=SkyOptions,
    launcher="rlhf_plugins.launchers.sky:SkyLauncher",
)
