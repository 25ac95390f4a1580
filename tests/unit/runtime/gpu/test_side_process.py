"""Asking in a child: what it said before it hung or died is kept, and nobody waits for it."""

from __future__ import annotations

import os
import select
import signal
import time
from os import pidfd_open
from pathlib import Path

from runtime.errors import GpuError
from runtime.gpu.side_process import Tell, ask, listen


def test_messages_come_in_order_whatever_their_size() -> None:
    def question(tell: Tell) -> None:
        tell({"big": "x" * 200_000})
        tell({"small": 1})

    asked = ask(question)
    listen([asked], patience_s=10)
    assert [200_000, 1] == [len(asked.messages[0]["big"]), asked.messages[1]["small"]]
    assert (False, False) == (asked.silent, asked.incomplete)


def test_a_failure_comes_as_words() -> None:
    def question(tell: Tell) -> None:
        raise GpuError("no driver", hint="install one")

    asked = ask(question)
    listen([asked], patience_s=10)
    assert {"error": "no driver", "hint": "install one"} == asked.error


def test_silence_ends_one_child_and_not_the_others() -> None:
    def hang(tell: Tell) -> None:
        tell({"said": 1})
        time.sleep(600)

    hanging, well = ask(hang), ask(lambda tell: tell({"said": 2}))
    begun = time.monotonic()
    listen([hanging, well], patience_s=0.3)
    assert time.monotonic() - begun < 20
    assert ([{"said": 1}], True, True) == (hanging.messages, hanging.silent, hanging.incomplete)
    assert ([{"said": 2}], False, False) == (well.messages, well.silent, well.incomplete)


def test_one_that_talks_all_the_time_is_not_silent() -> None:
    def question(tell: Tell) -> None:
        for number in range(4):
            time.sleep(0.3)
            tell({"number": number})

    asked = ask(question)
    listen([asked], patience_s=5)
    assert 4 == len(asked.messages)


def test_a_death_is_noticed() -> None:
    asked = ask(lambda tell: os.kill(os.getpid(), signal.SIGKILL))
    listen([asked], patience_s=10)
    assert (True, False) == (asked.incomplete, asked.silent)


def test_a_child_dies_with_whoever_asked_it(tmp_path: Path) -> None:
    def hang(tell: Tell) -> None:
        (tmp_path / "pid").write_text(str(os.getpid()))
        tell({"said": 1})
        time.sleep(600)

    asker = os.fork()
    if asker == 0:
        ask(hang)
        time.sleep(600)
        os._exit(0)
    deadline = time.monotonic() + 20
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child = pidfd_open(int((tmp_path / "pid").read_text()))
    os.kill(asker, signal.SIGKILL)
    os.waitpid(asker, 0)
    assert select.select([child], [], [], 20)[0]
    os.close(child)
