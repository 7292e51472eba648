"""A chart as SVG, PNG and CSV."""

import csv
import io
import math
import struct
import xml.etree.ElementTree as ET
import zlib
from pathlib import Path

import pytest
from textual.pilot import Pilot

from driving import drive, shown
from recorded import BEGAN, HOSTILE, write_healthy
from rlhf_console.runs.focus import OpenRun
from rlhf_console.runs.store import find
from rlhf_console.svg import INK, Label, Picture, Stroke, svg_of
from rlhf_console.tui.drawing.axes import Mark
from rlhf_console.tui.drawing.chart_options import ChartOptions
from rlhf_console.tui.drawing.lines import MARKERS, Line
from rlhf_console.tui.drawing.picture import ALARM, FONT_SIZE, HEIGHT, SERIES, WIDTH, picture_of
from rlhf_console.tui.drawing.pixel_font import GLYPHS, SIGNS, pixels, width_of
from rlhf_console.tui.drawing.plot import Frame, Target
from rlhf_console.tui.drawing.png import png_of
from rlhf_console.tui.drawing.run_panels import RunLines
from rlhf_console.tui.drawing.table_file import csv_of
from rlhf_console.tui.exporting import write_files
from rlhf_sdk.spec import Panel
from rlhf_sdk.trainer import UserError

SVG = "{http://www.w3.org/2000/svg}"
NAN = math.nan


def line(values: list[float], name: str = "loss", look: int = 0) -> Line:
    return Line(name, list(range(1, len(values) + 1)), values, look, newest=values[-1])


def read_png(data: bytes) -> list[list[str]]:
    """The colour of every pixel, by row; every checksum has to be right."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, place = {}, 8
    while place < len(data):
        (length,), kind = struct.unpack(">I", data[place : place + 4]), data[place + 4 : place + 8]
        body = data[place + 8 : place + 8 + length]
        assert struct.unpack(">I", data[place + 8 + length : place + 12 + length])[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        place += 12 + length
    width, height, depth, colours, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, colours, rest) == (8, 3, [0, 0, 0])
    palette = [f"#{chunks[b'PLTE'][start : start + 3].hex()}" for start in range(0, len(chunks[b"PLTE"]), 3)]
    rows, size = zlib.decompress(chunks[b"IDAT"]), width + 1
    assert len(rows) == size * height and all(rows[y * size] == 0 for y in range(height))
    return [[palette[index] for index in rows[y * size + 1 : (y + 1) * size]] for y in range(height)]


def test_a_gap_ends_a_stroke_and_is_marked() -> None:
    picture = picture_of("Loss", "nats", [line([1.0, 2.0, NAN, 3.0])], Frame(total=8))
    strokes = [stroke for stroke in picture.strokes if stroke.colour == SERIES[0]]
    assert [len(stroke.points) for stroke in strokes] == [2, 1]
    assert sum(label.text == "×" and label.colour == ALARM for label in picture.labels) == 1


def test_higher_values_are_higher_up_and_later_ones_to_the_right() -> None:
    (stroke,) = [
        stroke for stroke in picture_of("a", "", [line([1.0, 5.0])], Frame(total=8)).strokes if stroke.colour in SERIES
    ]
    (x0, y0), (x1, y1) = stroke.points
    assert x0 < x1 and y0 > y1


def test_a_million_values_are_few_strokes() -> None:
    many = line([float(step % 97) for step in range(300_000)])
    points = [stroke.points for stroke in picture_of("a", "", [many], Frame()).strokes if stroke.colour in SERIES]
    assert sum(map(len, points)) <= 4 * WIDTH


def test_svg_is_well_formed_with_the_text_of_strangers_in_it() -> None:
    lines = [line([1.0, 2.0], f"<b>&{HOSTILE}"), line([2.0, 1.0], "other", look=1)]
    frame = Frame(total=8, marks=[Mark(4.0, "!", "alarm")], target=Target(1.5, 1.2, 1.8))
    root = ET.fromstring(svg_of(picture_of(f'"{HOSTILE}', "<unit>", lines, frame)))
    texts = ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]
    assert any("<b>&\\x1b[31mred" in text for text in texts) and any("(<unit>)" in text for text in texts)
    assert "!" in texts and "step" in texts
    dashed = [each for each in root.iter(f"{SVG}polyline") if "stroke-dasharray" in each.attrib]
    assert len(dashed) == 3


def test_png_has_the_same_strokes_where_they_are() -> None:
    picture = Picture([Stroke([(10, 20), (30, 20)], SERIES[2], 1)], [], WIDTH, HEIGHT, FONT_SIZE)
    rows = read_png(png_of(picture))
    assert (len(rows), len(rows[0])) == (HEIGHT, WIDTH)
    coloured = {(x, y) for y, row in enumerate(rows) for x, colour in enumerate(row) if colour == SERIES[2]}
    assert coloured == {(x, 20) for x in range(10, 31)}


def test_png_text_stays_within_the_picture_and_ends_where_it_is_anchored() -> None:
    labels = [Label((100, 50), "RIGHT", anchor="end"), Label((WIDTH - 2, 90), "far out" * 20), Label((-5, 2), "above")]
    rows = read_png(png_of(Picture([], labels, WIDTH, HEIGHT, FONT_SIZE)))
    inked = [x for row in rows[40:51] for x, colour in enumerate(row) if colour == INK]
    assert inked and max(inked) <= 100 and min(inked) >= 100 - 2 * width_of("RIGHT")


def test_every_sign_of_a_line_can_be_told_from_the_others() -> None:
    assert {*MARKERS} == {*SIGNS} and len({frozenset(pixels(sign)) for sign in SIGNS}) == len(SIGNS)
    drawn = [frozenset(pixels(character)) for character in GLYPHS]
    alike = [(a, b) for a, b in zip(GLYPHS, drawn, strict=True) if drawn.count(b) > 1 and a not in "×*"]
    assert not alike and frozenset(pixels("é")) == frozenset(pixels("?"))


def test_csv_has_every_figure_as_it_was_logged(tmp_path: Path) -> None:
    write_healthy(tmp_path)
    run = OpenRun(find(tmp_path, "ppo-healthy"))
    while run.read():
        pass
    panel = Panel("Reward", ["reward/score_mean", "no/such", "reward/total_mean"], "points")
    rows = list(csv.reader(io.StringIO(csv_of(panel, [RunLines(run)], ChartOptions(smoothing=0.9)).decode())))
    assert rows[0] == ["run", "metric", "unit", "step", "time", "value", "smoothed"]
    assert len(rows) == 1 + 2 * 26
    assert rows[26][:5] == ["ppo-healthy", "reward/score_mean", "points", "26", str(BEGAN + 26)]
    assert float(rows[26][5]) == 2.6 and 0 < float(rows[26][6]) < 2.6


def test_file_names_have_no_strange_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (path,) = write_files(f"../../run {HOSTILE}", {"csv": b"x"})
    assert path.parent == tmp_path and path.read_bytes() == b"x" and path.name.isascii() and "/" not in path.name
    monkeypatch.setattr(Path, "cwd", lambda: tmp_path / "not there")
    with pytest.raises(UserError, match="can't be written"):
        write_files("run", {"csv": b""})


def test_a_key_writes_the_chosen_chart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_healthy(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)

    async def script(pilot: Pilot[None]) -> None:
        await shown(pilot, "▸ Reward (points)")
        await pilot.press("right", "E")
        for _ in range(200):
            await pilot.pause(0.05)
            if [*tmp_path.glob("*.csv")]:
                return

    drive(tmp_path / "runs", script, run="ppo-healthy")
    stem = "ppo-healthy-KL-to-the-SFT-policy"
    assert {path.name for path in tmp_path.glob("*.*")} == {f"{stem}.{ending}" for ending in ("svg", "png", "csv")}
    assert "KL to the SFT policy" in (tmp_path / f"{stem}.svg").read_text()
