"""docs/numerics.md has a row for every invariant, and every row's tests are there."""

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
NUMBERS = range(1, 74)
LATER = {62, 63}
"""Join with the judge."""
NAMED_IN_WORDS = {44, 48}
"""Their tests are older than the table and named for what they hold."""


def table() -> dict[int, list[str]]:
    """Test files of each row, by number."""
    section = (CHECKOUT / "docs" / "numerics.md").read_text().partition("## Invariants")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in section.splitlines() if re.match(r"\| \d+ \|", line)]
    return {int(row[1]): re.findall(r"`([\w/]+\.py)`", row[3]) for row in rows}


def test_every_invariant_has_a_row_in_order() -> None:
    assert list(table()) == list(NUMBERS)


@pytest.mark.parametrize("number", sorted(set(NUMBERS) - LATER))
def test_every_row_names_tests_that_exist(number: int) -> None:
    files = [CHECKOUT / "tests" / name for name in table()[number]]
    assert files
    assert [str(file) for file in files if not file.is_file()] == []
    if number not in NAMED_IN_WORDS:
        function = re.compile(rf"^def test_(\d+_)*{number:02d}_", flags=re.MULTILINE)
        assert any(function.search(file.read_text()) for file in files), f"no function test_{number:02d}_..."


def test_what_comes_later_names_no_tests_yet() -> None:
    assert {number for number in NUMBERS if not table()[number]} == LATER
