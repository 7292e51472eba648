"""The contract kit: a plugin that keeps the contract passes, and each planted fault is found by the rule for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlhf_sdk.contract import Finding, check_plugin
from rlhf_sdk.contract.asking import Target, ask, target_of
from rlhf_sdk.contract.finding import Request
from rlhf_sdk.contract.kit import RULES
from rlhf_sdk.trainer import UserError

MODULE = Path(__file__).with_name("faulty_plugins.txt")
WARNED = ("slow", "unnamed", "silent", "unread", "half_misspelt")
FAULTS = {
    "not_a_spec": ("declares", "not a PluginSpec"),
    "heavy": ("light", "imports jax"),
    "loose": ("config_type", "without frozen=True, forbid_unknown_fields=True"),
    "incomplete": ("config_type", "model must be set"),
    "silent": ("config_type", "no description: rate"),
    "hostile_names": ("plain_names", r"Reward\x1b[31m"),
    "plan_raises": ("memory_plan", "KeyError: 'layers'"),
    "raises": ("runs", "ended with exit code 3: the plugin failed"),
    "hangs": ("runs", "had no end within 2 s"),
    "miscounts": ("runs", "announced 7 steps, did 6"),
    "says_nothing": ("metrics", "a step logged nothing"),
    "always_nan": ("metrics", "went on with loss/total not finite"),
    "misspelt": ("panels", "never logged: reward/summ"),
    "half_misspelt": ("panels", "not logged here: reward/means"),
    "no_such_column": ("samples", "in no sample: length"),
    "writes_everywhere": ("own_place", "wrote cache.bin"),
    "slow": ("safe_points", " s without one, after 2 steps"),
    "unnamed": ("phases", "none"),
    "from_the_clock": ("repeats", "instead of"),
    "from_hashes": ("repeats", "instead of"),
    "notices_pauses": ("pause", "instead of"),
    "deaf_to_signals": ("stop", "after SIGTERM it ended with exit code 0"),
    "from_the_modules_generator": ("stop", "instead of"),
    "catches_the_end": ("stop_inside", ""),
    "leaves_half_a_step": ("stop_inside", "instead of"),
    "forgets_the_sum": ("kill", "instead of"),
    "learns_when_asked": ("sampling", "instead of"),
    "dies_when_asked": ("sampling", "ended with exit code 9"),
    "logs_nan": ("diverges", "goes on with figures that are not finite"),
    "overflows": ("diverges", "ended with exit code 3: the plugin failed: OverflowError"),
    "unread": ("config_is_read", "without effect here: temperature, label"),
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of a project with all of them."""
    folder = tmp_path_factory.mktemp("faulty")
    shutil.copy(MODULE, folder / "faulty_plugins.py")
    (folder / "jax.py").write_text("")
    (folder / "heavy.py").write_text("import jax\nfrom faulty_plugins import *\nheavy = spec('heavy')\n")
    modules = {"heavy": "heavy"}
    points = "".join(f'{name} = "{modules.get(name, MODULE.stem)}:{name}"\n' for name in ("sound", *FAULTS))
    project = f'[project]\nname = "faulty"\n\n[project.entry-points."rlhf.trainers"]\n{points}'
    (folder / "pyproject.toml").write_text(project)
    return folder


@pytest.fixture(scope="module")
def target(faulty: Path) -> Iterator[Target]:
    with target_of(faulty) as found:
        yield found


@pytest.fixture(scope="module")
def found(target: Target) -> dict[str, Finding]:
    """What is found of each faulty plugin by the rule that should."""
    requests = [
        Request(plugin=name, rules=[rule], seconds=2 if name == "hangs" else 60) for name, (rule, _) in FAULTS.items()
    ]
    return {finding.plugin: finding for finding in ask(target, requests)}


@pytest.mark.parametrize("plugin", FAULTS)
def test_each_planted_fault_is_found(found: dict[str, Finding], plugin: str) -> None:
    rule, words = FAULTS[plugin]
    finding = found[plugin]
    assert (finding.rule, finding.state) == (rule, "warn" if plugin in WARNED else "fail"), finding
    assert words in finding.found
    assert finding.advice


def test_a_sound_plugin_passes_every_rule(target: Target) -> None:
    findings = list(ask(target, [Request(plugin="sound")]))
    assert [finding.rule for finding in findings] == list(RULES)
    timed = "safe_points"  # by the clock: a busy machine may hold up anything
    assert [finding for finding in findings if finding.state != "pass" and finding.rule != timed] == []


def test_every_rule_is_broken_by_somebody() -> None:
    assert {rule for rule, _ in FAULTS.values()} == set(RULES)


def test_rules_that_can_not_be_judged_say_why(target: Target) -> None:
    findings = list(ask(target, [Request(plugin="raises", rules=["kill", "panels", "diverges"])]))
    assert [(finding.state, finding.found) for finding in findings] == [
        ("skipped", "the undisturbed run did not finish")
    ] * 2 + [("fail", findings[2].found)]


def test_an_installed_plugin_is_checked_by_its_name() -> None:
    (finding,) = check_plugin("echo", ["runs"], steps=5)
    assert (finding.state, finding.found) == ("pass", "5 steps")


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no rule 'kil'; .* Did you mean 'kill'\?"):
        check_plugin("echo", ["kil"])
    with pytest.raises(UserError, match="unknown plugin 'ecko'"):
        check_plugin("ecko")
    with pytest.raises(UserError, match=r"has no pyproject\.toml"):
        check_plugin(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "nothing"')
    with pytest.raises(UserError, match=r'it needs \[project\.entry-points\."rlhf\.trainers"\]'):
        check_plugin(tmp_path)
