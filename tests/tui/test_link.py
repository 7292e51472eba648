"""A terminal that is slow: what comes by itself is left out, keys are answered."""

from rlhf_console.tui.link import GIVE_UP_SECONDS, Link


def test_a_terminal_is_behind_until_it_has_answered_for_all_that_was_drawn() -> None:
    link = Link()
    assert link.drawn(0.0), "asked after a frame"
    assert not link.answered(0.1) and not link.is_behind(0.1)
    assert link.drawn(1.0) and link.is_behind(1.1)
    assert not link.drawn(1.2), "one question at a time"
    assert link.answered(2.0), "asked again, for the frame that came after the question"
    assert link.is_behind(2.1)
    assert not link.answered(2.2) and not link.is_behind(2.3)


def test_an_answer_that_is_lost_holds_nothing_up_for_ever() -> None:
    link = Link()
    link.drawn(0.0)
    link.answered(0.0)
    link.drawn(1.0)
    assert link.is_behind(1.0 + GIVE_UP_SECONDS / 2)
    assert not link.is_behind(1.0 + GIVE_UP_SECONDS)
    assert link.drawn(1.0 + GIVE_UP_SECONDS)
