"""A hundred builds at once of plans that share steps: each step is made once.

And while garbage is being collected all the time, every build still ends with a whole image in hand.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from runtime.build.builder import build
from runtime.build.cache_key import chain, step_key
from runtime.build.observer import NullObserver
from runtime.build.plan import BuildPlan, CopyIn, ImageConfig, MakeDirectory, MakeVenv, Step
from runtime.oci.digest import digest_bytes
from runtime.store.check import check
from runtime.store.garbage import Rules, collect
from runtime.store.records import Layer
from runtime.store.store import Store

BUILDS = 100
SNAPSHOTS = 10
PLANS = 20


def code(directory: Path, number: int) -> CopyIn:
    """Snapshot *number*: one file of its own and one that all have."""
    root = directory / f"code-{number}"
    root.mkdir()
    files = []
    for name, content in (("own.py", f"print({number})\n"), ("shared.py", "print()\n")):
        (root / name).write_text(content)
        files.append((name, 0o644, hashlib.sha256(content.encode()).hexdigest()))
    return CopyIn(os.fspath(root), tuple(files), f"/code/{number}", digest_bytes(repr(files).encode()))


def plans(directory: Path) -> list[BuildPlan]:
    """Each has the same first step and three of ten others."""
    venv = MakeVenv("cpython-3.13.5-abc", "/usr/bin/python3.13", "3.13.5")
    snapshots = [code(directory, number) for number in range(SNAPSHOTS)]
    chosen = [(number % SNAPSHOTS, (number // 2 + 3) % SNAPSHOTS, (number * 7 + 1) % SNAPSHOTS) for number in range(PLANS)]
    return [BuildPlan((venv, *(snapshots[one] for one in dict.fromkeys(numbers))), ImageConfig()) for numbers in chosen]


class Log(NullObserver):
    """Writes each step that was really made into a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def step_built(self, step: Step, layers: tuple[Layer, ...], seconds: float) -> None:
        with self.path.open("a") as log:
            log.write(f"{layers[-1].key}\n")


def at_once(bodies: list[Callable[[], None]]) -> list[int]:
    """Run *bodies*, each in a process of its own; process ids."""
    pids = []
    for body in bodies:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                body()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        pids.append(pid)
    return pids


def exit_codes(pids: list[int]) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def test_a_hundred_builds_of_overlapping_plans_make_each_step_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "store").ensure()
    chosen = plans(tmp_path)
    log = tmp_path / "built"

    def build_one(number: int) -> None:
        build(chosen[number % PLANS], Store(store.root), observer=Log(log))

    assert [0] * BUILDS == exit_codes(at_once([partial(build_one, number) for number in range(BUILDS)]))
    made = Counter(log.read_text().split())
    assert {1} == set(made.values())
    assert len({step for plan in chosen for step in plan.steps}) == len(made) == len(store.layers())
    assert [] == check(store)
    assert ([".gate"], []) == (os.listdir(store.root / "tmp"), os.listdir(store.root / "locks"))


def test_garbage_collected_beside_builds_takes_nothing_from_them(tmp_path: Path) -> None:
    store = Store(tmp_path / "store").ensure()
    chosen = plans(tmp_path)

    def collect_all_the_time() -> None:
        while True:
            collect(Store(store.root), Rules(unused_s=0, max_bytes=0, even_named=True))

    def build_some(first: int) -> None:
        mine = Store(store.root)
        for number in range(first, first + 6):
            result = build(chosen[number % PLANS], mine)
            time.sleep(0.002)
            for layer in result.image.layers:
                assert os.listdir(mine.layer_dir(layer)), layer.label
                assert len(mine.tree_of(layer)) > 0
            assert mine.image_of(result.image.digest) is not None

    collectors = at_once([collect_all_the_time] * 2)
    try:
        assert [0] * 16 == exit_codes(at_once([partial(build_some, first) for first in range(16)]))
    finally:
        for pid in collectors:
            os.kill(pid, signal.SIGKILL)
        exit_codes(collectors)
    assert [] == check(store)
    collect(store, Rules(unused_s=0, max_bytes=0, even_named=True), now=time.time() + 86_400)
    assert [] == store.layers()
    assert [".gate"] == os.listdir(store.root / "tmp")
    assert [[], [], []] == [os.listdir(store.root / name) for name in ("keys", "plans", "locks")]


def test_who_waits_for_another_build_of_a_step_says_so(store: Store) -> None:
    step = MakeDirectory("/srv", label="WORKDIR /srv")
    said: list[str] = []
    waits = threading.Event()

    class Observer(NullObserver):
        def message(self, text: str) -> None:
            said.append(text)
            waits.set()

    building = threading.Thread(target=build, args=(BuildPlan((step,), ImageConfig()), store), kwargs={"observer": Observer()})
    with store.lock([step_key(step, chain([]))]):
        building.start()
        assert waits.wait(timeout=20)
    building.join(timeout=20)
    assert ["another build makes `WORKDIR /srv`: waiting for it"] == said
    assert store.find(step_key(step, chain([]))) is not None
