"""A font of 3 x 5 pixels for pictures: capitals, figures and signs; what it lacks becomes a question mark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

HEIGHT, NARROW, WIDE, GAP = 5, 3, 5, 1

GLYPHS = {
    "0": "75557", "1": "26227", "2": "71747", "3": "71317", "4": "55711",
    "5": "74717", "6": "74757", "7": "71122", "8": "75757", "9": "75717",
    "A": "25755", "B": "65656", "C": "34443", "D": "65556", "E": "74647", "F": "74644", "G": "34553", "H": "55755",
    "I": "72227", "J": "11152", "K": "55655", "L": "44447", "M": "57755", "N": "65555", "O": "25552", "P": "65644",
    "Q": "25563", "R": "65655", "S": "34216", "T": "72222", "U": "55557", "V": "55552", "W": "55775", "X": "55255",
    "Y": "55222", "Z": "71247", " ": "00000", ".": "00002", ",": "00024", ":": "02020", ";": "02024", "-": "00700",
    "_": "00007", "+": "02720", "/": "11244", "\\": "44211", "(": "24442", ")": "21112", "[": "64446", "]": "31113",
    "%": "51245", "*": "05250", "=": "07070", "<": "12421", ">": "42124", "!": "22202", "?": "71202", "#": "57575",
    "&": "25253", "'": "22000", '"': "55000", "@": "75743", "^": "25000", "|": "22222", "~": "03600",
    "×": "05250", "‖": "55555", "┴": "22227", "∞": "00777",
}  # fmt: skip
"""Five rows from the top, each an octal figure whose bits are its pixels from left to right."""

SIGNS = {
    "●": (14, 31, 31, 31, 14), "▲": (4, 4, 14, 14, 31), "■": (31, 31, 31, 31, 31), "◆": (4, 14, 31, 14, 4),
    "✚": (4, 4, 31, 4, 4), "★": (4, 31, 14, 10, 17),
}  # fmt: skip
"""Likewise, 5 x 5 pixels."""


def width_of(text: str) -> int:
    """Pixels, with the gap behind the last character."""
    return sum(_columns(character) + GAP for character in text)


def pixels(text: str) -> Iterator[tuple[int, int]]:
    """The pixels that are set, as columns and rows from the top left."""
    left = 0
    for character in text:
        columns = _columns(character)
        for row, bits in enumerate(_rows(character)):
            yield from ((left + x, row) for x in range(columns) if bits >> (columns - 1 - x) & 1)
        left += columns + GAP


def _columns(character: str) -> int:
    return WIDE if character in SIGNS else NARROW


def _rows(character: str) -> Sequence[int]:
    return SIGNS.get(character) or [int(row, 8) for row in GLYPHS.get(character.upper(), GLYPHS["?"])]
