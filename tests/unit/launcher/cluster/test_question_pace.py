"""How often a controller is asked."""

from __future__ import annotations

import pytest

from launcher.cluster.slurm import question_pace
from launcher.cluster.slurm.question_pace import QuestionPace


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a test lets pass."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(question_pace, "time", made)
    return made


def pauses(pace, clock, count):
    """Seconds until each of the next *count* questions, tenths at a time."""
    found = []
    for _ in range(count):
        begun = clock.now
        while not pace.is_due():
            clock.now += 0.1
        found.append(round(clock.now - begun, 1))
        pace.asked()
    return found


def test_questions_become_rarer_up_to_ten_seconds(clock):
    found = pauses(QuestionPace(), clock, 9)
    assert [1.0, 1.5, 2.3] == pytest.approx(found[:3], abs=0.11)
    assert [10.0, 10.0] == pytest.approx(found[-2:], abs=0.11)


def test_after_news_questions_are_as_frequent_as_at_first(clock):
    pace = QuestionPace()
    pauses(pace, clock, 9)
    pace.news()
    assert [1.0, 1.5] == pytest.approx(pauses(pace, clock, 2), abs=0.11)


def test_a_question_that_is_due_at_once_is_followed_by_the_first_pauses(clock):
    pace = QuestionPace()
    pauses(pace, clock, 9)
    pace.at_once()
    assert pace.is_due()
    pace.asked()
    assert [1.5] == pytest.approx(pauses(pace, clock, 1), abs=0.11)
