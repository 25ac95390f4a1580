"""The process that installs wheels beside the base: its events, its failures, its end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.build.cache_key import step_key
from runtime.build.observer import NullObserver
from runtime.build.plan import InstallWheel, MakeVenv
from runtime.build.sources import WheelSource
from runtime.build.wheels import wheel_worker
from runtime.build.wheels.wheel_worker import WheelWorker, start_worker
from runtime.errors import BadContent, BuildError
from runtime.oci.digest import digest_bytes
from runtime.store.records import Layer
from runtime.store.store import Store

MADE = MakeVenv("cpython-3.13.5-abc", "/usr/bin/python3.13", "3.13.5")
WHEEL = InstallWheel("a", "1", "0" * 64, "a-1-py3-none-any.whl", "cpython-3.13.5-abc", "3.13")
LAYER = Layer(digest_bytes(b"d"), digest_bytes(b"k"), 1, "base")


class Heard(NullObserver):
    def __init__(self) -> None:
        self.events: list[object] = []

    def message(self, text: str) -> None:
        self.events.append(text)

    def download(self, label: str, done_bytes: int, total_bytes: int | None) -> None:
        self.events.append((label, done_bytes, total_bytes))


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., None]], WheelWorker]:
    """Start a worker whose work is another function: what it is called with, it forks with."""

    def start(work: Callable[..., None]) -> WheelWorker:
        monkeypatch.setattr(wheel_worker, "_install", work)
        return start_worker([WHEEL], venv=MADE, store=Store(tmp_path / "store").ensure(), source=WheelSource())

    return start


def test_events_and_the_end_come_over_the_pipe(begin: Callable[..., WheelWorker]) -> None:
    def work(steps: object, venv: object, store: object, source: object, base_fd: int, observer: NullObserver) -> None:
        observer.download("wheels", 1, 2)
        observer.message("x" * 10_000)

    heard = Heard()
    assert begin(work).join(heard) >= 0
    assert [("wheels", 1, 2), "x" * 500] == heard.events


def test_more_events_than_the_pipe_holds_stop_nobody(begin: Callable[..., WheelWorker]) -> None:
    def work(steps: object, venv: object, store: object, source: object, base_fd: int, observer: NullObserver) -> None:
        for number in range(20_000):
            observer.download("wheels", number, None)

    worker = begin(work)
    heard = Heard()
    assert worker.join(heard) >= 0
    assert 100 < len(heard.events) <= 20_000


def test_events_are_passed_on_without_waiting(begin: Callable[..., WheelWorker]) -> None:
    def work(steps: object, venv: object, store: object, source: object, base_fd: int, observer: NullObserver) -> None:
        observer.message("early")
        os.read(base_fd, 1)

    worker = begin(work)
    heard = Heard()
    deadline = time.monotonic() + 20
    while not heard.events and time.monotonic() < deadline:
        worker.pass_on(heard)
        time.sleep(0.01)
    assert ["early"] == heard.events
    worker.stop()


@pytest.mark.parametrize("kind", [BadContent, BuildError])
def test_a_failure_there_is_the_same_failure_here(begin: Callable[..., WheelWorker], kind: type[BuildError]) -> None:
    def work(*_: object) -> None:
        raise kind("no wheel `a`", hint="look elsewhere")

    with pytest.raises(kind, match="no wheel `a`") as caught:
        begin(work).join(NullObserver())
    assert "look elsewhere" == caught.value.hint


def test_a_bug_there_keeps_its_traceback(begin: Callable[..., WheelWorker]) -> None:
    def work(*_: object) -> None:
        raise ZeroDivisionError("x")

    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*ZeroDivisionError"):
        begin(work).join(NullObserver())


def test_a_killed_worker_is_an_error_and_no_hang(begin: Callable[..., WheelWorker]) -> None:
    worker = begin(lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    worker.base_ready([LAYER], LAYER)
    with pytest.raises(BuildError, match="was killed"):
        worker.join(NullObserver())


def test_a_stopped_worker_unwinds_and_is_gone(begin: Callable[..., WheelWorker], tmp_path: Path) -> None:
    def work(*_: object) -> None:
        try:
            (tmp_path / "at work").touch()
            time.sleep(60)
        finally:
            (tmp_path / "unwound").touch()

    worker = begin(work)
    assert _appears(tmp_path / "at work")
    pid = worker.pid
    worker.stop()
    worker.stop()
    assert (tmp_path / "unwound").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_worker_does_not_outlive_its_builder(begin: Callable[..., WheelWorker], tmp_path: Path) -> None:
    def work(*_: object) -> None:
        try:
            (tmp_path / "pid").write_text(str(os.getpid()))
            time.sleep(60)
        finally:
            (tmp_path / "unwound").touch()

    builder = os.fork()
    if builder == 0:
        begin(work)
        time.sleep(60)
        os._exit(0)
    assert _appears(tmp_path / "pid")
    os.kill(builder, signal.SIGKILL)
    os.waitpid(builder, 0)
    assert _appears(tmp_path / "unwound")


def _appears(path: Path) -> bool:
    deadline = time.monotonic() + 20
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return path.exists()


def test_a_worker_whose_base_failed_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real work, up to the wait for the base: whoever started it closes the pipe, and it lets go of lock and staging."""
    from contextlib import contextmanager

    from runtime.build.wheels import apply_install_wheel

    @contextmanager
    def prepared(steps: object, **_: object):  # type: ignore[no-untyped-def]
        yield None

    monkeypatch.setattr(apply_install_wheel, "prepare_wheels", prepared)
    store = Store(tmp_path / "store").ensure()
    worker = start_worker([WHEEL], venv=MADE, store=store, source=WheelSource())
    os.close(worker.base_fd)
    worker.base_fd = -1
    assert worker.join(NullObserver()) >= 0
    assert (None, []) == (store.find(step_key(WHEEL, None)), os.listdir(store.root / "locks"))
