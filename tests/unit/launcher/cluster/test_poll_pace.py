"""How often a controller is polled."""

from __future__ import annotations

import pytest

from launcher.cluster.engine import PollPace


class Clock:
    """Seconds that a test lets pass."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def pauses(pace, clock, count):
    """Seconds until each of the next *count* polls, tenths at a time."""
    found = []
    for _ in range(count):
        begun = clock.now
        while not pace.is_due():
            clock.now += 0.1
        found.append(round(clock.now - begun, 1))
        pace.note_poll()
    return found


def test_polls_become_rarer_up_to_ten_seconds(clock):
    found = pauses(PollPace(clock), clock, 9)
    assert [1.0, 1.5, 2.3] == pytest.approx(found[:3], abs=0.11)
    assert [10.0, 10.0] == pytest.approx(found[-2:], abs=0.11)


def test_after_news_polls_are_as_frequent_as_at_first(clock):
    pace = PollPace(clock)
    pauses(pace, clock, 9)
    pace.restart()
    assert [1.0, 1.5] == pytest.approx(pauses(pace, clock, 2), abs=0.11)


def test_a_poll_that_is_due_at_once_is_followed_by_the_first_pauses(clock):
    pace = PollPace(clock)
    pauses(pace, clock, 9)
    pace.make_due()
    assert pace.is_due()
    pace.note_poll()
    assert [1.5] == pytest.approx(pauses(pace, clock, 1), abs=0.11)
