"""Colours that can be told apart, on every background, also by people who see two instead of three kinds."""

import itertools
import math
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.theme import Theme

from driving import drive, shown
from recorded import write_healthy
from rlhf_console.settings import Settings, ThemeName
from rlhf_console.tui.screens.charts import ChartsView
from rlhf_console.tui.themes import ANSI, COLOUR_BLIND, DARK, LIGHT
from rlhf_console.tui.widgets.chart import MetricChart

NORMAL = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
DEUTERANOPIA = ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881))
PROTANOPIA = ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998))
"""Machado, Oliveira, Fernandes, "A physiologically-based model for simulation of color vision deficiency" (2009),
severity 1.0, on linear sRGB."""

XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
D65 = (0.95047, 1.0, 1.08883)
LEAST_CONTRAST_OF_LINES, LEAST_CONTRAST_OF_TEXT = 3.0, 4.5
"""WCAG 2.2, 1.4.11 and 1.4.3."""

Colour = tuple[float, ...]


def linear(code: str) -> Colour:
    shares = [int(code[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return tuple(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares)


def product(matrix: tuple[tuple[float, ...], ...], colour: Colour) -> Colour:
    return tuple(sum(a * b for a, b in zip(row, colour, strict=True)) for row in matrix)


def lab(colour: Colour) -> Colour:
    """CIE L*a*b* of linear sRGB."""
    shares = [value / white for value, white in zip(product(XYZ, colour), D65, strict=True)]
    x, y, z = (t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116 for t in shares)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def contrast(one: str, other: str) -> float:
    dark, light = sorted(product(XYZ, linear(code))[1] for code in (one, other))
    return (light + 0.05) / (dark + 0.05)


def series(theme: Theme) -> list[str]:
    return [theme.variables[f"series-{number}"] for number in range(6)]


def least_difference(theme: Theme, eyes: tuple[tuple[float, ...], ...]) -> float:
    seen = [tuple(min(max(c, 0), 1) for c in product(eyes, linear(code))) for code in series(theme)]
    return min(math.dist(lab(one), lab(other)) for one, other in itertools.combinations(seen, 2))


def test_the_simulation_is_right_where_it_is_known() -> None:
    """Grey is seen as it is; red and green of one lightness fall together."""
    assert all(math.isclose(seen, 0.5, abs_tol=2e-6) for seen in product(DEUTERANOPIA, (0.5, 0.5, 0.5)))
    assert math.isclose(lab((1.0, 1.0, 1.0))[0], 100, abs_tol=1e-3)
    red, green = linear("#c44e52"), linear("#6b8e23")
    apart = math.dist(lab(product(DEUTERANOPIA, red)), lab(product(DEUTERANOPIA, green)))
    assert apart < math.dist(lab(red), lab(green)) / 2


@pytest.mark.parametrize(("theme", "least"), [(DARK, 15), (LIGHT, 20), (COLOUR_BLIND, 30)])
@pytest.mark.parametrize("eyes", [NORMAL, DEUTERANOPIA, PROTANOPIA])
def test_lines_are_told_apart(theme: Theme, least: float, eyes: tuple[tuple[float, ...], ...]) -> None:
    """A difference of 2.3 is just noticeable side by side; thin lines apart from each other need many times that."""
    assert least_difference(theme, eyes) > least


@pytest.mark.parametrize("theme", [DARK, LIGHT, COLOUR_BLIND])
def test_lines_and_texts_stand_out_from_the_background(theme: Theme) -> None:
    colours = {**theme.to_color_system().generate(), **theme.variables}
    texts = [colours[f"text-{kind}"] for kind in ("primary", "success", "warning", "error")]
    assert min(contrast(code, colours["background"]) for code in series(theme)) >= LEAST_CONTRAST_OF_LINES
    assert min(contrast(code, colours["background"]) for code in texts) >= LEAST_CONTRAST_OF_TEXT


def test_the_terminals_own_colours_are_used_alone() -> None:
    colours = {**ANSI.variables, "background": ANSI.background, "foreground": ANSI.foreground}
    assert not any(str(value).startswith("#") for value in colours.values())
    assert len(set(series(ANSI))) == 6


def colours_of_lines(pilot: Pilot[None]) -> set[str]:
    """Of the braille that stands on the screen."""
    chart = pilot.app.screen.query_one(ChartsView).query(MetricChart).first()
    segments = [segment for y in range(chart.size.height) for segment in chart.render_line(y)]
    styles = [segment.style for segment in segments if any("\u2800" < sign <= "\u28ff" for sign in segment.text)]
    return {style.color.name for style in styles if style is not None and style.color is not None}


@pytest.mark.parametrize("name", ["light", "ansi", "colour-blind"])
def test_a_theme_is_worn_from_the_start_and_can_be_changed(tmp_path: Path, name: ThemeName) -> None:
    write_healthy(tmp_path)
    wanted = {
        "light": set(series(LIGHT)[:2]),
        "ansi": {"color(6)", "color(3)"},
        "colour-blind": set(series(COLOUR_BLIND)[:2]),
    }

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "26/26")
        assert colours_of_lines(pilot) == wanted[name]
        pilot.app.theme = "dark"
        await pilot.pause()
        assert colours_of_lines(pilot) == set(series(DARK)[:2])
        assert set(pilot.app.available_themes) == {"dark", "light", "ansi", "colour-blind"}

    drive(tmp_path, script, run="ppo", settings=Settings(theme=name))
