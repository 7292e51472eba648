"""Metrics in columns, against a list of points for each metric."""

from pathlib import Path
from tempfile import NamedTemporaryFile

from hypothesis import given
from hypothesis import strategies as st

from rlhf_console.runs.fold import RunSummary, fold
from rlhf_console.runs.series import MetricLog, Series
from rlhf_sdk.events import Event, MetricsLogged, Note, Started, decode_event, decode_events, encode_line
from rlhf_sdk.tail import Tail

NAMES = ("a", "b", "c")
metrics = st.builds(
    MetricsLogged,
    values=st.dictionaries(st.sampled_from(NAMES), st.floats(-9, 9)) | st.just(dict.fromkeys(NAMES, 1.0)),
    seconds=st.just(1.0),
    step=st.integers(0, 12),
    time=st.floats(1, 9),
)
events = st.lists(metrics | st.builds(Started, plugin=st.just("p"), total_steps=st.just(9), step=st.integers(0, 12)))


def by_points(told: list[Event]) -> dict[str, list[tuple[int, float, float]]]:
    """What stays of each metric: what was at a step or later is superseded by what comes there."""
    found: dict[str, list[tuple[int, float, float]]] = {}
    for event in told:
        if isinstance(event, Started):
            found = {name: [point for point in points if point[0] <= event.step] for name, points in found.items()}
        elif isinstance(event, MetricsLogged):
            for name, value in event.values.items():
                kept = [point for point in found.get(name, []) if point[0] < event.step]
                found[name] = [*kept, (event.step, value, event.time)]
    return found


def points_of(series: Series) -> list[tuple[int, float, float]]:
    return list(zip(series.steps, series.values, series.times, strict=True))


@given(events, st.integers(0, 40))
def test_columns_hold_what_was_logged(told: list[Event], cut: int) -> None:
    summary = fold(fold(RunSummary(), told[:cut]), told[cut:])
    assert {name: points_of(series) for name, series in summary.metrics.items()} == by_points(told)
    assert summary == fold(RunSummary(), told)


@given(st.lists(metrics, min_size=1))
def test_a_revision_tells_when_a_value_that_was_there_has_changed(told: list[MetricsLogged]) -> None:
    log = MetricLog()
    for event in told:
        before = {name: (series.revision, points_of(series)) for name, series in log.by_name.items()}
        log.log(event)
        for name, (revision, points) in before.items():
            now = log.by_name[name]
            assert now.revision != revision or points_of(now)[: len(points)] == points


def test_metrics_that_are_always_together_share_their_steps() -> None:
    log = MetricLog()
    log.log_all([MetricsLogged(values=dict.fromkeys("ab", 1.0), seconds=1.0, step=step) for step in range(1, 9)])
    assert log.by_name["a"].steps is log.by_name["b"].steps
    log.log(MetricsLogged(values={"a": 2.0}, seconds=1.0, step=9))
    assert (len(log.by_name["a"].steps), len(log.by_name["b"].steps)) == (9, 8)


LINES = (
    encode_line(MetricsLogged(values={"a": 1.5, "b": -2.0}, seconds=1.0, step=3)),
    encode_line(MetricsLogged(values={"a": float("nan")}, seconds=float("inf"), step=4)),
    encode_line(Note(text="\u202e\n")),
    b'{"kind":"ack","command_id":"a","command":"x","outcome":"done","details":' + b"[" * 99 + b"]" * 99 + b"}\n",
    b'{"kind":"metrics","values":{},"seconds":1,"schema":2}\n', b'{"kind":"metrics","values":{},"seconds":1}{}\n',
    b'{"kind":"new","a":1}\n', b"\n", b"damaged\n", b"\xff\n", b'{"kind":"note",\n"text":"two lines"}\n',
)  # fmt: skip


@given(st.lists(st.sampled_from(LINES)))
def test_many_lines_at_once_are_what_each_is_by_itself(lines: list[bytes]) -> None:
    with NamedTemporaryFile() as file:
        file.write(b"".join(lines))
        file.flush()
        fast = Tail(Path(file.name), decode_event, decode_events)
        slow = Tail(Path(file.name), decode_event)
        assert list(map(repr, fast)) == list(map(repr, slow))
        assert fast.damaged == slow.damaged
