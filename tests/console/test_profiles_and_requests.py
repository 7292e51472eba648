from pathlib import Path
from typing import Any

import pytest

from rlhf_console.profiles import Stage, flatten, load_profile, merge, parse_settings, provenance, resolve_stage
from rlhf_console.requests import resolve_request
from rlhf_sdk.trainer import UserError

PROFILE = str(Path(__file__).parent / "echo_profile.toml")


def resolve(*settings: str, plugin: str = "pipeline", profile: str = PROFILE, root: Path) -> dict[str, object]:
    return resolve_request(plugin, profile, settings, [], None, root).config


def test_layers_win_in_order_and_every_leaf_knows_its_origin(tmp_path: Path) -> None:
    request = resolve_request("pipeline", PROFILE, ["again.steps=5"], [], None, tmp_path)
    again = request.config["stages"]["again"]["config"]
    assert (again["steps"], again["text"], again["seed"], again["delay_seconds"]) == (5, "one", 7, 0.0)
    origin = {key: request.provenance[f"stages.again.config.{key}"] for key in flatten(again)}
    assert origin["steps"] == "--set"
    assert origin["text"] == "profile echo_profile"
    assert origin["seed"] == "profile echo_profile: common"
    assert origin["delay_seconds"] == "default"


def test_the_extending_profile_wins(tmp_path: Path) -> None:
    child = tmp_path / "child.toml"
    child.write_text(f'extends = "{PROFILE}"\n[echo]\nsteps = 9\n')
    profile = load_profile(str(child))
    resolved = resolve_stage(profile, Stage("echo", "echo"), {"steps", "text", "seed"}, {})
    assert resolved.config == {"seed": 7, "steps": 9, "text": "one"}
    assert resolved.origins["steps"] == "profile child"
    assert profile.summary == "two echoes, one after the other"


def test_merge_and_provenance_by_hand() -> None:
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}, "d": 4}) == {"a": {"b": 3, "c": 2}, "d": 4}
    assert provenance({"a": {"b": 1, "c": []}}, {"a.b": "x"}) == {"a.b": "x", "a.c": "default"}
    assert provenance({"a": {"b": 1}}, {"a": "x"}) == {"a.b": "x"}


def test_settings_are_toml_or_text() -> None:
    parsed = parse_settings(["s.a.b=1e-3", "s.c=[1, 2]", "s.d=true", "s.e=plain words", 's.f="q"'], ["s"])
    assert parsed == {"s": {"a": {"b": 1e-3}, "c": [1, 2], "d": True, "e": "plain words", "f": "q"}}


@pytest.mark.parametrize(
    ("settings", "profile", "plugin", "parts"),
    [
        (["echo.stepz=3"], PROFILE, "pipeline", ["stepz", "steps"]),
        (["echo.steps=0"], PROFILE, "pipeline", ["steps", "0", ">= 1"]),
        (["echo.steps=many"], PROFILE, "pipeline", ["steps", "many"]),
        (["ecko.steps=1"], PROFILE, "pipeline", ["ecko", "Did you mean 'echo'?"]),
        (["steps"], PROFILE, "pipeline", ["STAGE.KEY=VALUE"]),
        ([], "dmo", "pipeline", ["dmo", "Did you mean 'demo'?"]),
        ([], "", "pipeline", ["[pipeline]"]),
        ([], PROFILE, "ehco", ["ehco", "Did you mean 'echo'?"]),
    ],
)
def test_a_mistake_is_named_and_leaves_nothing_behind(
    settings: list[str], profile: str, plugin: str, parts: list[str], tmp_path: Path
) -> None:
    with pytest.raises(UserError) as raised:
        resolve(*settings, plugin=plugin, profile=profile, root=tmp_path / "runs")
    assert all(part in str(raised.value) for part in parts), str(raised.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[echoo]\nsteps = 1\n[pipeline]\nstages = ['echo']", ["echoo", "echo"]),
        ("[common]\nsed = 1\n[pipeline]\nstages = ['echo']", ["sed", "seed"]),
        ("steps = 1", ["outside any section"]),
        ("[echo\n", ["not valid TOML"]),
    ],
)
def test_a_bad_profile_names_file_and_key(text: str, parts: list[str], tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(UserError) as raised:
        resolve(profile=str(file), root=tmp_path)
    assert "bad" in str(raised.value)
    assert all(part in str(raised.value) for part in parts), str(raised.value)


def test_a_profile_extends_several_the_later_over_the_earlier_and_what_they_share_once(tmp_path: Path) -> None:
    files = {
        "base": 'summary = "base"\n[echo]\nsteps = 1\nseconds = 1.0\n',
        "left": f'extends = "{tmp_path / "base.toml"}"\n[echo]\nsteps = 2\nseconds = 2.0\n',
        "right": f'extends = "{tmp_path / "base.toml"}"\n[echo]\nsteps = 3\n',
        "both": f'extends = ["{tmp_path / "left.toml"}", "{tmp_path / "right.toml"}"]\n',
    }
    for name, text in files.items():
        (tmp_path / f"{name}.toml").write_text(text)
    profile = load_profile(str(tmp_path / "both.toml"))
    assert [layer.origin for layer in profile.layers] == [
        f"profile {name}" for name in ("base", "left", "right", "both")
    ]
    merged: dict[str, Any] = {}
    for layer in profile.section("echo"):
        merged |= layer.values
    assert merged == {"steps": 3, "seconds": 2.0}


def test_extends_is_a_name_or_names(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("extends = 3\n")
    with pytest.raises(UserError, match="a list of names"):
        load_profile(str(file))


def test_a_profile_that_extends_itself_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "loop.toml"
    file.write_text(f'extends = "{file}"\n')
    with pytest.raises(UserError, match="extends itself"):
        load_profile(str(file))
