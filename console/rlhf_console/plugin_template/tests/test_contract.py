"""Does the plugin keep the contract? `rlhf plugin check .` shows the same as a table."""

from pathlib import Path

from rlhf_sdk.contract import check_plugin

PROJECT = Path(__file__).parents[1]


def test_the_contract_is_kept() -> None:
    findings = check_plugin(PROJECT)
    assert [finding for finding in findings if finding.state == "fail"] == []
