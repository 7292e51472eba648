"""The contract kit: does a plugin keep what `trainer.py` and `spec.py` ask? `check_plugin` is for plugins' tests."""

from rlhf_sdk.contract.asking import check_plugin
from rlhf_sdk.contract.finding import Finding

__all__ = ["Finding", "check_plugin"]
