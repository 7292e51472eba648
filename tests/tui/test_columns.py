import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from rlhf_console.scale import View
from rlhf_console.tui.drawing.columns import Columns, Extent

VIEW = View(0.0, 7.0)


def gathered(values: Sequence[float], width: int = 4) -> Columns:
    columns = Columns(VIEW, width)
    columns.follow(range(len(values)), values)
    return columns


def test_a_column_keeps_first_least_greatest_and_last() -> None:
    columns = Columns(View(0.0, 100.0), 2)
    columns.follow([0, 1, 2, 3, 100], [2.0, 5.0, 1.0, 3.0, 4.0])
    assert columns.extents == {0: Extent(2.0, 1.0, 5.0, 3.0, joined=True), 1: Extent(4.0, 4.0, 4.0, 4.0, joined=True)}
    assert columns.range == (1.0, 5.0)


def test_a_column_after_a_nan_is_not_joined_to_the_one_before() -> None:
    columns = gathered([1.0, math.nan, math.inf, 1.0, 1.0, 1.0], width=8)
    assert columns.non_finite == {1, 2}
    assert [x for x, extent in columns.extents.items() if not extent.joined] == [3]


def test_without_a_finite_value_there_is_no_range() -> None:
    assert gathered([math.nan, -math.inf]).range is None


@given(st.lists(st.floats(-10, 10) | st.just(math.nan), max_size=60), st.data())
def test_following_in_pieces_is_following_at_once(values: list[float], data: st.DataObject) -> None:
    pieces, at_once = Columns(VIEW, 5), gathered(values, 5)
    for end in [*sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=5))), len(values)]:
        pieces.follow(range(end), values[:end])
    assert pieces.extents == at_once.extents
    assert pieces.non_finite == at_once.non_finite


def test_superseded_values_are_forgotten() -> None:
    columns = gathered([1.0, 2.0, 9.0])
    columns.follow([0, 1, 2, 3], [1.0, 2.0, 3.0, 4.0], revision=1)
    assert columns.range == (1.0, 4.0)
    columns.follow([0], [1.0], revision=1)
    assert columns.range == (1.0, 1.0)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60), st.integers(1, 9), st.booleans())
def test_slices_of_columns_are_the_points_one_by_one(values: list[float], width: int, log: bool) -> None:
    """Each point by itself, from the definition; also where a sum overflows."""
    columns = Columns(View(3.0, 40.0), width, log=log)
    columns.follow(range(len(values)), values)
    expected: dict[int, list[float]] = {}
    for x, value in list(enumerate(values))[3:41]:
        drawn = value if not log else math.log10(value) if value > 0 else math.nan
        if math.isfinite(drawn):
            expected.setdefault(View(3.0, 40.0).column(x, width), []).append(drawn)
    found = {column: (e.first, e.low, e.high, e.last) for column, e in columns.extents.items()}
    assert found == {column: (v[0], min(v), max(v), v[-1]) for column, v in expected.items()}
