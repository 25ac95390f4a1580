"""Jobs side by side, some at a time, in threads: those that wait for a network, or for what leaves the interpreter lock.

The threads are daemons: Ctrl-C must not wait until a registry that went silent is given up. What a job holds is therefore such
that the end of the process gives it back (files without a name, sockets, locked directories).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """Another job failed, or the user said stop."""


class Stop:
    """Said once, looked at by every job wherever it has a moment."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def say(self) -> None:
        self._event.set()

    @property
    def is_said(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        """Raises Stopped when it was said."""
        if self._event.is_set():
            raise Stopped

    def wait(self, seconds: float) -> None:
        """Sleep. Raises Stopped as soon as it is said."""
        if self._event.wait(seconds):
            raise Stopped


def side_by_side(jobs: Sequence[Callable[[], T]], *, at_once: int, stop: Stop, grace_s: float | None = 1.0) -> list[T]:
    """What *jobs* return, in their order; they are begun in that order too. The first failure stops all, and is raised.

    After a failure those that are at work are waited for, for *grace_s* at most; None: until they have ended.
    """
    waiting: queue.SimpleQueue[tuple[int, Callable[[], T]]] = queue.SimpleQueue()
    for item in enumerate(jobs):
        waiting.put(item)
    done: queue.SimpleQueue[tuple[int, T | None, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        while True:
            try:
                position, job = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                stop.check()
                done.put((position, job(), None))
            except BaseException as error:
                done.put((position, None, error))

    threads = [threading.Thread(target=work, name=f"job-{number}", daemon=True) for number in range(min(at_once, len(jobs)))]
    results: dict[int, T] = {}
    try:
        for thread in threads:
            thread.start()
        while len(results) < len(jobs):
            position, result, error = done.get()
            if error is not None:
                raise error
            results[position] = result  # type: ignore[assignment]
    except BaseException:
        stop.say()
        for thread in threads:
            if thread.ident is not None:
                thread.join(None if grace_s is None else grace_s / len(threads))
        raise
    for thread in threads:  # there is nothing left to do, and whoever forks wants to be alone
        thread.join()
    return [results[position] for position in range(len(jobs))]
