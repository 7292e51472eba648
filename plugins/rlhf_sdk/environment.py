"""What the bits of a result depend on besides config and code: kept with each checkpoint, compared at resume."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from rlhf_sdk.trainer import Runtime

OWN_PACKAGE = "rlhf-console"


def environment_of(runtime: Runtime | None) -> dict[str, str]:
    """This package's version, and what a runtime says of device and libraries."""
    try:
        own = {OWN_PACKAGE: version(OWN_PACKAGE)}
    except PackageNotFoundError:
        own = {}
    return own | (runtime.environment() if runtime is not None else {})


def differences(now: Mapping[str, str], then: Mapping[str, str]) -> list[str]:
    """What is another than it was, in words; what either doesn't know is left out."""
    return [f"{name} {now[name]} instead of {then[name]}" for name in then if name in now and now[name] != then[name]]
