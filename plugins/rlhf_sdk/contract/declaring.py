"""What a plugin declares, and what asking costs: `python -m rlhf_sdk.contract.declaring NAME`, a config on stdin."""

from __future__ import annotations

import sys
import time
from typing import Any

import msgspec

from rlhf_sdk.describe import describe, plan, print_apart, validate
from rlhf_sdk.discovery import load_spec
from rlhf_sdk.exit_codes import ExitCode
from rlhf_sdk.trainer import UserError

HEAVY = ("torch", "transformers", "datasets", "tensorflow", "jax")


def declare(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """The declaration, the complete config or what is wrong with it, the memory plan's rows."""
    began = time.process_time()
    spec = load_spec(name)
    found: dict[str, Any] = {"answer": describe(spec)}
    found["seconds"] = time.process_time() - began
    settings = spec.config.__struct_config__  # type: ignore[attr-defined]
    found |= {"frozen": settings.frozen, "forbids_unknown": settings.forbid_unknown_fields}
    try:
        found |= validate(spec, config)
    except UserError as error:
        return found | {"config_error": str(error), "heavy": []}
    try:
        found["plan_rows"] = len(plan(spec, config)["rows"])
    except Exception as error:
        found["plan_error"] = f"{type(error).__name__}: {error}"
    return found | {"heavy": [module for module in HEAVY if module in sys.modules]}


def answer() -> tuple[dict[str, Any], int]:
    config = msgspec.json.decode(sys.stdin.buffer.read(), type=dict[str, Any])
    try:
        return declare(sys.argv[1], config), ExitCode.DONE
    except (Exception, SystemExit) as error:
        return {"error": " ".join(f"{type(error).__name__}: {error}".split())}, ExitCode.PLUGIN_FAILED


if __name__ == "__main__":
    print_apart(answer)
