"""What a plugin says about itself, and what is said of a config that doesn't suit it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from rlhf_sdk.config_errors import ConfigError, complete, convert_config


def described(*arguments: str, config: Any = None) -> tuple[dict[str, Any], int]:
    """The answer and the exit code of a describe process."""
    text = config if isinstance(config, str) else json.dumps(config)
    command = [sys.executable, "-m", "rlhf_sdk.describe", *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer, done.returncode


@pytest.fixture
def config_type(troubled: Path) -> type:
    import troubled_plugin  # type: ignore[import-not-found]

    return troubled_plugin.TroubledConfig


@pytest.mark.usefixtures("troubled")
def test_a_declaration_is_complete_although_the_plugin_prints() -> None:
    answer, code = described("troubled")
    assert code == 0 and answer["name"] == "troubled" and answer["contract"] == 1
    assert answer["distribution"] == {"name": "troubled", "version": "1.0"}
    assert answer["schema"]["$defs"]["Section"]["properties"]["share"]["maximum"] == 1
    options = {option["key"]: option for option in answer["options"]}
    assert options["section.share"] == {
        "key": "section.share",
        "allowed": "a number >= 0 and <= 1",
        "choices": [],
        "default": 0.25,
        "required": False,
        "description": "a part",
        "source": "nobody",
        "live": False,
    }
    assert options["section.kind"]["allowed"] == "one of green, red"
    assert options["section.kind"]["choices"] == ["green", "red"]
    assert options["pair"]["allowed"] == "a list of 2: a whole number; a whole number"
    assert options["names"]["allowed"] == "a table of names, each text"
    assert "section" not in options


@pytest.mark.usefixtures("troubled")
@pytest.mark.parametrize(
    ("plugin", "code", "message"),
    [
        ("trubled", 2, "unknown plugin 'trubled'"),
        ("not_a_spec", 2, "not a PluginSpec"),
        ("old_contract", 2, "upgrade the plugin"),
        ("unimportable", 3, "plugin 'unimportable' is broken: ModuleNotFoundError: No module named 'nowhere_at_all'"),
    ],
)
def test_a_plugin_that_can_not_be_described(plugin: str, code: int, message: str) -> None:
    answer, returned = described(plugin)
    assert returned == code and message in answer["error"]["message"]


@pytest.mark.usefixtures("troubled")
def test_validation_fills_in_every_default() -> None:
    answer, code = described("troubled", "--validate", config={"steps": 9, "section": {"kind": "green"}})
    assert code == 0 and answer["config"]["section"] == {"share": 0.25, "kind": "green"}
    assert answer["config"]["steps"] == 9 and answer["config"]["pair"] == [1, 2]
    assert described("troubled", "--plan", config={}) == ({"rows": []}, 0)


@pytest.mark.usefixtures("troubled")
def test_what_is_no_config_is_refused() -> None:
    for text in ("", "[]", "{"):
        answer, code = described("troubled", "--validate", config=text)
        assert code == 2 and answer["error"]["message"]
    answer, code = described("troubled", "--validate", config={"section": {"shares": 1}})
    message = "unknown key 'section.shares'. Did you mean 'section.share'?"
    assert (answer, code) == ({"error": {"key": "section.shares", "message": message}}, 2)


MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    ({"stps": 1}, "stps", "unknown key 'stps'. Did you mean 'steps'?"),
    ({"share": 1}, "share", "unknown key 'share'. Did you mean 'section.share'?"),
    ({"section": {"xyz": 1}}, "section.xyz", "unknown key 'section.xyz'. Allowed: share, kind"),
    ({"section": {"share": 1.5}}, "section.share", "section.share = 1.5: must be a number >= 0 and <= 1"),
    ({"section": {"kind": "blue"}}, "section.kind", 'section.kind = "blue": must be one of green, red'),
    ({"section": 3}, "section", "section = 3: must be a section with share, kind"),
    ({"steps": 0}, "steps", "steps = 0: must be a whole number >= 1"),
    ({"steps": "3"}, "steps", 'steps = "3": must be a whole number >= 1'),
    ({"steps": True}, "steps", "steps = true: must be a whole number >= 1"),
    ({"steps": None}, "steps", "steps = null: must be a whole number >= 1"),
    ({"pair": [1, "b"]}, "pair.1", 'pair.1 = "b": must be a whole number'),
    ({"pair": [1]}, "pair", "pair = [1]: must be a list of 2: a whole number; a whole number"),
    ({"names": {"a": 1}}, "names", 'names = {"a":1}: must be a table of names, each text'),
    ({"trouble": 5}, "trouble", "trouble = 5: must be text"),
]


@pytest.mark.parametrize(("config", "key", "message"), MISTAKES, ids=[json.dumps(row[0]) for row in MISTAKES])
def test_mistakes_name_key_value_and_what_is_allowed(
    config_type: type, config: dict[str, Any], key: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        convert_config(config, config_type)
    assert (caught.value.key, str(caught.value)) == (key, message)


def test_a_required_key_must_be_set() -> None:
    from rlhf_plugins.pipeline import PipelineConfig

    with pytest.raises(ConfigError, match="stages must be set: a table of names"):
        convert_config({}, PipelineConfig)


def test_a_section_given_in_part_keeps_the_defaults_of_its_place(config_type: type) -> None:
    assert complete({"section": {"kind": "green"}}, config_type)["section"] == {"share": 0.25, "kind": "green"}
    assert convert_config({}, config_type) == config_type()


class _Layout(msgspec.Struct, forbid_unknown_fields=True):
    role: Literal["", "ddp"] = ""


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """No key."""


@pytest.mark.parametrize(
    ("config", "kind", "wanted"),
    [
        ({"role": "dpd"}, _Layout, 'role = "dpd": must be one of "", ddp'),
        ({"hours": 3}, _Nothing, "unknown key 'hours'. Allowed: none"),
    ],
)
def test_what_is_empty_is_said_to_be(config: dict[str, Any], kind: type, wanted: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(wanted)}$"):
        convert_config(config, kind)
