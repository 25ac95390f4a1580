"""Something is tried in a child, and comes back as words whatever happens to it."""

from __future__ import annotations

import os
import signal

from runtime.errors import RuntimeFailure
from runtime.host import report
from runtime.host.finding import Remedy, try_out


def test_what_works_needs_no_remedy():
    found = try_out(lambda: "it works", lambda: Remedy("x", "y"))
    assert (True, "it works", "", "") == (found.ok, found.detail, found.advice, found.command)


def test_a_failure_brings_its_own_hint():
    def work() -> str:
        raise RuntimeFailure("it does not", hint="do this")

    assert ("it does not", "do this") == (try_out(work).detail, try_out(work).advice)
    assert ("z", "y") == (try_out(work, lambda: Remedy("z", "y")).advice, try_out(work, lambda: Remedy("z", "y")).command)
    assert "do this" == try_out(work, lambda: Remedy(command="y")).advice


def test_a_bug_and_a_killed_child_are_lines_of_the_report():
    def bug() -> str:
        raise ZeroDivisionError("no numbers")

    def killed() -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return ""

    assert (False, "no numbers") == (try_out(bug).ok, try_out(bug).detail)
    assert "the process that tried it was killed" == try_out(killed).detail


def test_nothing_is_advised_where_nothing_is_missing():
    found = report.check("linger")
    assert not found.ok or ("", "") == (found.advice, found.command)


def test_every_check_answers_on_any_machine():
    for check in report.report().values():
        assert check.detail
        assert check.ok is True or check.ok is False
