import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from rlhf_console.tui.drawing.cells import Row, changed_spans, fit, join, spread, text_cells, wrap


def text_of(row: Row) -> str:
    return "".join(text for text, _ in row)


def test_wide_characters_take_two_cells_and_marks_none() -> None:
    assert text_cells("a漢b") == [("a", ""), ("漢", ""), ("", ""), ("b", "")]
    assert text_cells("e\u0301") == [("e\u0301", "")]


@given(st.text())
def test_no_text_can_control_the_terminal(text: str) -> None:
    shown = text_of(text_cells(text))
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


@given(st.text(max_size=30), st.integers(0, 20))
def test_a_fitted_row_is_exactly_as_wide_as_asked(text: str, width: int) -> None:
    row = fit(text_cells(text), width)
    assert len(row) == width
    assert cell_len(text_of(row)) == width


def test_what_is_cut_ends_in_an_ellipsis_unless_it_is_blank() -> None:
    assert text_of(fit(text_cells("reward"), 4)) == "rew…"
    assert text_of(fit(text_cells("re   "), 3)) == "re "
    assert text_of(fit(text_cells("a漢字"), 3)) == "a …"


def test_the_right_end_keeps_its_place() -> None:
    assert text_of(spread(text_cells("left"), text_cells("right"), 14)) == "left     right"
    assert text_of(spread(text_cells("long left"), text_cells("right"), 12)) == "long…  right"
    assert text_of(spread(text_cells("left"), [], 6)) == "left  "
    assert text_of(join([text_cells("a"), [], text_cells("b")], gap=1)) == "a b"


def test_only_changed_spans_are_told_and_near_ones_joined() -> None:
    before, after = text_cells("a" * 30), text_cells("a" * 30)
    assert changed_spans(before, after) == []
    after[2] = after[5] = after[20] = ("b", "")
    assert changed_spans(before, after) == [(2, 6), (20, 21)]


def test_spans_never_cut_a_wide_character() -> None:
    assert changed_spans(text_cells("漢"), text_cells("ab")) == [(0, 2)]
    assert changed_spans(text_cells("a漢"), text_cells("a字")) == [(1, 3)]


def test_lines_break_at_spaces_or_within_words_that_are_too_long() -> None:
    assert wrap("one two three", 7) == ["one two", "three"]
    assert wrap("abcdefgh ij", 3) == ["abc", "def", "gh", "ij"]
    assert wrap("first\n\nsecond", 20) == ["first", "second"]
    assert wrap("漢字漢字", 4) == ["漢字", "漢字"]


@given(st.text(), st.integers(2, 30))
def test_no_wrapped_line_is_too_wide(text: str, width: int) -> None:
    assert all(cell_len(line) <= width for line in wrap(text, width))
