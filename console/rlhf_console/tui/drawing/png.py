"""A picture as PNG, with nothing but zlib: a palette image with a small font of its own."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

from rlhf_console.svg import INK, Label, Picture, Point, Stroke
from rlhf_console.tui.drawing import pixel_font
from rlhf_console.tui.drawing.picture import (
    ACCENT,
    ALARM,
    FAINT,
    GRID,
    HEIGHT,
    SERIES,
    WIDTH,
)

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BIT_DEPTH, WITH_PALETTE = 8, 3
COLOURS = ("#ffffff", INK, GRID, FAINT, ALARM, ACCENT, *SERIES)
TEXT_SCALE = 2
DASH = 8


def png_of(picture: Picture) -> bytes:
    image = bytearray(WIDTH * HEIGHT)
    for stroke in picture.strokes:
        _draw_stroke(image, stroke)
    for label in picture.labels:
        _draw_label(image, label)
    rows = b"".join(b"\0" + image[start : start + WIDTH] for start in range(0, len(image), WIDTH))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, BIT_DEPTH, WITH_PALETTE, 0, 0, 0)
    palette = b"".join(bytes.fromhex(colour[1:]) for colour in COLOURS)
    chunks = [(b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _draw_stroke(image: bytearray, stroke: Stroke) -> None:
    colour = COLOURS.index(stroke.colour)
    for number, (x, y) in enumerate(_along(stroke.points)):
        if not (stroke.dashes and number // DASH % 2):
            _draw_square(image, x, y, round(stroke.width), colour)


def _along(points: Iterable[Point]) -> Iterator[tuple[int, int]]:
    """The pixels of the straight lines between the points."""
    x0, y0 = next(iter(points))
    for x, y in points:
        count = max(round(max(abs(x - x0), abs(y - y0))), 1)
        for i in range(count + 1):
            yield round(x0 + (x - x0) * i / count), round(y0 + (y - y0) * i / count)
        x0, y0 = x, y


def _draw_label(image: bytearray, label: Label) -> None:
    colour, width = COLOURS.index(label.colour), pixel_font.width_of(label.text) * TEXT_SCALE
    left = round(label.at[0] - {"start": 0.0, "middle": width / 2, "end": width}[label.anchor])
    top = round(label.at[1]) - pixel_font.HEIGHT * TEXT_SCALE
    for x, y in pixel_font.pixels(label.text):
        _draw_square(image, left + x * TEXT_SCALE, top + y * TEXT_SCALE, TEXT_SCALE, colour)


def _draw_square(image: bytearray, left: int, top: int, side: int, colour: int) -> None:
    first, last = max(left, 0), min(left + side, WIDTH)
    if first >= last:
        return
    for y in range(max(top, 0), min(top + side, HEIGHT)):
        image[y * WIDTH + first : y * WIDTH + last] = bytes([colour]) * (last - first)
