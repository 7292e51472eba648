"""What lights remember, when they speak, and that a resumed run judges as the straight one does."""

import json
import math
from typing import Any

import pytest

from rlhf_engine.checks.live import FEWEST, RECENT, LiveLights
from rlhf_engine.checks.rules import Rule, State, judge


def rule(**changes: Any) -> Rule:
    return Rule(**{"name": "light", "figure": "figure", "meaning": "a figure", "look_at": "it", **changes})


def told(lights: LiveLights, values: list[float], start: int = 1) -> list[tuple[int, str, float]]:
    """(update, state, figure) of everything that is said."""
    return [
        (update, light.state, light.figure)
        for update, value in enumerate(values, start)
        for light in lights.observe({"figure": value}, update)
    ]


@pytest.mark.parametrize(
    ("fires", "figure", "state"),
    [
        ("above", 1.0, "ok"),
        ("above", 1.5, "warn"),
        ("above", 2.0, "warn"),
        ("above", 2.5, "fail"),
        ("below", 2.0, "ok"),
        ("below", 1.5, "warn"),
        ("below", 1.0, "warn"),
        ("below", 0.5, "fail"),
        ("above", math.nan, "fail"),
        ("below", math.inf, "fail"),
    ],
)
def test_a_threshold_itself_is_still_on_the_better_side(fires: str, figure: float, state: State) -> None:
    limits = {"warn": 1.0, "fail": 2.0} if fires == "above" else {"warn": 2.0, "fail": 1.0}
    light = judge(rule(fires=fires, **limits), figure)
    assert light.state == state
    assert ("first look at: it" in light.explanation) == (state != "ok")


def test_a_light_speaks_at_first_and_when_its_state_changes() -> None:
    lights = LiveLights([rule(warn=1.0, fail=2.0)], 10)
    assert told(lights, [0.0, 0.5, 1.5, 1.6, 3.0, 0.0]) == [
        (1, "ok", 0.0),
        (3, "warn", 1.5),
        (5, "fail", 3.0),
        (6, "ok", 0.0),
    ]


def test_a_spike_is_held_against_the_median_of_what_came_before() -> None:
    lights = LiveLights([rule(warn=2.0, fail=10.0, judged="over_median")], 100)
    before = [4.0, 1.0, 3.0, 2.0, 100.0]
    assert told(lights, before) == []
    assert len(before) == FEWEST
    assert told(lights, [9.0], start=6) == [(6, "warn", 3.0)]
    assert lights.remembered()["recent"]["figure"] == [*before, 9.0]


def test_the_median_has_a_floor() -> None:
    lights = LiveLights([rule(warn=3.0, judged="over_median", least_median=1.0)], 100)
    assert told(lights, [0.01] * FEWEST + [2.0]) == [(FEWEST + 1, "ok", 2.0)]


def test_the_first_value_is_what_later_ones_are_a_share_of() -> None:
    lights = LiveLights([rule(fires="below", fail=0.5, judged="over_first")], 100)
    assert told(lights, [8.0, 6.0, 2.0]) == [(1, "ok", 1.0), (3, "fail", 0.25)]


def test_a_recent_mean_waits_until_it_is_one() -> None:
    lights = LiveLights([rule(warn=0.9, judged="recent_mean")], 100)
    assert told(lights, [0.0] + [1.0] * (RECENT - 2)) == []
    assert told(lights, [1.0], start=RECENT) == [(RECENT, "warn", (RECENT - 1) / RECENT)]


def test_rules_begin_and_end() -> None:
    only_first = LiveLights([rule(fail=0.0, to_update=1)], 100)
    assert told(only_first, [1.0, 1.0]) == [(1, "fail", 1.0)]
    late = LiveLights([rule(fail=0.0, from_update=3, from_share=0.04)], 100)
    assert told(late, [1.0] * 6) == [(4, "fail", 1.0)]


def test_a_value_that_is_not_finite_spoils_no_median() -> None:
    lights = LiveLights([rule(warn=3.0, judged="over_median")], 100)
    told(lights, [1.0, math.nan, 1.0, math.inf, 1.0, 1.0, 1.0])
    assert lights.remembered()["recent"]["figure"] == [1.0] * 5


def test_a_resumed_run_judges_as_the_straight_one() -> None:
    rules = [
        rule(name=judged, warn=1.5, fail=3.0, judged=judged)
        for judged in ("value", "over_first", "over_median", "recent_mean")
    ]
    values = [1.0 + (7 * update % 5) for update in range(2 * RECENT)]
    for cut in (1, FEWEST, RECENT, RECENT + 7):
        straight, before = LiveLights(rules, len(values)), LiveLights(rules, len(values))
        for update, value in enumerate(values, 1):
            straight.observe({"figure": value}, update)
            if update <= cut:
                before.observe({"figure": value}, update)
        resumed = LiveLights(rules, len(values))
        resumed.recall(json.loads(json.dumps(before.remembered())))
        for update, value in enumerate(values[cut:], cut + 1):
            resumed.observe({"figure": value}, update)
        assert resumed.lights == straight.lights
        assert resumed.remembered() == straight.remembered()
