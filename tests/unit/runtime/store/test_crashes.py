"""Builders that die, and builders that run side by side."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from runtime.oci.digest import digest_bytes
from runtime.store.store import Store

KEY = digest_bytes(b"key")


def in_child(body: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            body()
            code = 0
        finally:
            os._exit(code)
    return pid


def publish(store: Store, key: bytes = b"key") -> None:
    with store.staging() as staging:
        root = staging / "root"
        root.mkdir()
        for number in range(40):
            (root / str(number)).write_bytes(bytes([number]) * 20_000)
        store.publish(digest_bytes(key), root, label="x")


def leftovers(store: Store) -> list[str]:
    return [path.name for path in (store.root / "tmp").glob("[!.]*")]


def test_kill_9_at_any_system_call_leaves_no_half_layer(tmp_path: Path) -> None:
    """Die at the n-th traced event of publishing, for n from few to all: the layer is whole or not there."""
    reference = Store(tmp_path / "reference")
    publish(reference)
    whole = reference.layers()

    for number, fatal in enumerate(range(1, 1000, 23)):
        store = Store(tmp_path / f"store-{number}")
        pid = in_child(partial(publish_until, store, fatal))
        survived = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert store.layers() in ([], whole)
        for diff_id in store.layers():
            assert reference.tree_of(diff_id) == store.tree_of(diff_id)
        if survived:
            assert store.find(KEY) is not None
        store.sweep()
        assert [] == leftovers(store)
        publish(store)
        assert whole == store.layers()
        assert store.find(KEY) is not None
        if survived:
            break
    else:
        pytest.fail("no run came to its end")


def publish_until(store: Store, fatal_event: int) -> None:
    die_at(fatal_event)
    publish(store)


def die_at(event: int) -> None:
    """SIGKILL this process at the *event*-th call from Python into the system or a library."""
    count = 0

    def audit(name: str, arguments: object) -> None:
        nonlocal count
        if name.startswith(("os.", "open", "shutil.", "fcntl.")):
            count += 1
            if count == event:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(audit)


def test_what_a_killed_builder_left_is_swept_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    store = Store(tmp_path / "store").ensure()
    ready, tell = os.pipe()

    def work() -> None:
        with store.staging() as staging:
            (staging / "half").write_text("x")
            os.write(tell, b"x")
            time.sleep(60)

    pid = in_child(work)
    os.read(ready, 1)
    try:
        assert 0 == store.sweep()
        assert 1 == len(leftovers(store))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    (store.root / "tmp" / "blob.partial").write_text("half a blob")
    assert 2 == store.sweep()
    assert [] == leftovers(store)


def test_two_builders_at_once_make_one_layer(tmp_path: Path) -> None:
    store = Store(tmp_path / "store").ensure()
    pids = [in_child(lambda: publish(store)) for _ in range(4)]
    assert [0] * 4 == [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    assert 1 == len(store.layers())
    assert [] == leftovers(store)


def test_the_second_builder_waits_and_finds_the_layer(tmp_path: Path) -> None:
    store = Store(tmp_path / "store").ensure()
    builds = tmp_path / "builds"

    def build_once() -> None:
        with store.lock([KEY, digest_bytes(b"other")]):
            if store.find(KEY) is None:
                with builds.open("a") as log:
                    log.write("built\n")
                publish(store)

    pids = [in_child(build_once) for _ in range(5)]
    assert [0] * 5 == [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    assert "built\n" == builds.read_text()
    assert [] == os.listdir(store.root / "locks"), "a lock that nobody holds leaves no file"


def test_the_lock_of_a_killed_builder_is_free(tmp_path: Path) -> None:
    store = Store(tmp_path / "store").ensure()
    ready, tell = os.pipe()

    def hold() -> None:
        with store.lock([KEY]):
            os.write(tell, b"x")
            time.sleep(60)

    pid = in_child(hold)
    os.read(ready, 1)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with store.lock([KEY]):
        assert [KEY.hex] == os.listdir(store.root / "locks")


def test_a_blob_that_is_being_written_survives_another_builders_sweep(tmp_path: Path) -> None:
    store = Store(tmp_path / "store").ensure()

    def chunks() -> Iterator[bytes]:
        yield b"first half, "
        assert Store(tmp_path / "store").sweep() == 0
        yield b"second half"

    digest, size = store.put_blob(chunks())
    with store.open_blob(digest) as blob:
        assert blob.read() == b"first half, second half"
    assert size == 23
    assert [".gate"] == os.listdir(tmp_path / "store" / "tmp")
