"""InstallWheel steps → one layer a wheel.

A batch goes through four stages: fetch all (`wheel_fetch.py`), lay each out below its own root (`wheel_tree.py`), compile all
in one container (`bytecode.py`), publish. `prepare_wheels` is the first two: they need no base, so a builder runs them while
the base is being made. A layer depends on its wheel and the interpreter only, never on the other wheels of the batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from runtime.build.cache_key import key_fields, step_key
from runtime.build.observer import BuildObserver
from runtime.build.plan import InstallWheel, MakeVenv
from runtime.build.sources import WheelSource
from runtime.build.step_label import step_label
from runtime.build.wheels.bytecode import compile_all, compiled_entries
from runtime.build.wheels.system_libraries import glibc_warning
from runtime.build.wheels.wheel_fetch import fetch_wheels
from runtime.build.wheels.wheel_tree import LaidOut, finish, lay_out
from runtime.kernel.processes import helped_by
from runtime.light_dataclasses import dataclass
from runtime.store.records import Layer
from runtime.store.staging import remove_tree
from runtime.store.store import Store


@dataclass(frozen=True, slots=True)
class PreparedWheels:
    """Wheels laid out in a staging directory of *store*, waiting for an interpreter."""

    stage: Path
    """`roots/` holds the wheels and is what a container sees; its overlay must lie beside it, not in it: a bind mount
    takes along what is mounted below it."""
    wheels: tuple[LaidOut, ...]
    sdists: tuple[InstallWheel, ...]
    """Source distributions: they are built when there is a base to build in."""
    store: Store
    source: WheelSource
    observer: BuildObserver

    def install(self, base: Sequence[Layer], venv_layer: Layer, venv: MakeVenv) -> None:
        """Compile and publish: then the store has their layers. The layers *base* (bottom first) hold the interpreter; unpacked
        is enough, they need not be configured; *venv* is what *venv_layer* was made by."""
        layers = [self.store.layer_dir(layer) for layer in (*base, venv_layer)]
        for wheel in self.wheels:
            if (warning := glibc_warning(wheel, self.source.glibc)) is not None:
                self.observer.message(warning)
        wheels = (*self.wheels, *self._built_from_source(layers, venv))
        overlay_dir = self.stage / "overlay"
        overlay_dir.mkdir(mode=0o700)
        compile_all(wheels, venv=venv, layers=layers, roots=self.stage / "roots", overlay_dir=overlay_dir)
        _publish_all(wheels, self.store)

    def _built_from_source(self, layers: Sequence[Path], venv: MakeVenv) -> tuple[LaidOut, ...]:
        if not self.sdists:
            return ()
        from runtime.build.wheels.sdist import build_wheels
        from runtime.build.wheels.source_tree import place_libraries

        scratch = self.stage / "sdists"
        built = build_wheels(self.sdists, layers=layers, venv=venv, source=self.source, scratch=scratch, observer=self.observer)
        wheels = _lay_out_all({step: wheel.unpacked for step, wheel in built.items()}, self.stage)
        for wheel in wheels:
            tree = built[wheel.step].tree
            if tree is not None:
                wheel.files += place_libraries(tree, wheel.root)
        return wheels


@contextmanager
def prepare_wheels(
    steps: Sequence[InstallWheel], *, store: Store, source: WheelSource, observer: BuildObserver
) -> Iterator[PreparedWheels]:
    """Fetch the wheels of *steps* and lay them out; what isn't published by the end of the body is removed."""
    ready = [step for step in steps if step.filename.endswith(".whl")]
    sdists = tuple(step for step in steps if not step.filename.endswith(".whl"))
    with store.container_staging() as stage, ExitStack() as beside:
        (stage / "roots").mkdir(mode=0o700)
        wheels: tuple[LaidOut, ...] = ()
        if ready:
            scratch = stage / "fetch"
            scratch.mkdir()
            unpacked = fetch_wheels(ready, source=source, scratch=scratch, observer=observer)
            # Thousands of links: a disk that is being written to takes seconds to remove them.
            beside.enter_context(helped_by(partial(remove_tree, scratch)))
            wheels = _lay_out_all(unpacked, stage)
        yield PreparedWheels(stage, wheels, sdists, store, source, observer)


def _lay_out_all(unpacked: dict[InstallWheel, Path], stage: Path) -> tuple[LaidOut, ...]:
    """Each wheel below its own root in *stage*. Copying and hashing run beside each other: both release the GIL."""
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0)), thread_name_prefix="wheel-copy") as copying:
        return tuple(lay_out(step, directory, _root_of(step, stage), copying=copying) for step, directory in unpacked.items())


def _root_of(step: InstallWheel, stage: Path) -> Path:
    root = stage / "roots" / f"{step.sha256[:32]}-{step.name}"
    root.mkdir(mode=0o755)
    return root


_NUMBER_BYTES = 4


def _publish_all(wheels: Sequence[LaidOut], store: Store) -> None:
    """In a process for each processor: describing thousands of files holds the interpreter's lock."""
    by_size = sorted(wheels, key=lambda wheel: -sum(entry.size for entry in wheel.files))  # the largest is not begun last
    queue, end = os.pipe2(os.O_CLOEXEC)
    try:
        with open(end, "wb") as numbers:  # a pipe holds 16,000 of them
            numbers.writelines(number.to_bytes(_NUMBER_BYTES) for number in range(len(by_size)))

        def publish_from_queue() -> None:
            while number := os.read(queue, _NUMBER_BYTES):  # reads of so little never interleave (pipe(7))
                _publish(by_size[int.from_bytes(number)], store)

        with helped_by(*[publish_from_queue] * (min(len(os.sched_getaffinity(0)), len(wheels)) - 1)):
            publish_from_queue()
    finally:
        os.close(queue)
    for wheel in by_size:
        if store.find(step_key(wheel.step, None)) is None:
            _publish(wheel, store)  # the process that took it could not: here the failure is told


def _publish(wheel: LaidOut, store: Store) -> None:
    step = wheel.step
    bytecode = compiled_entries(wheel, tag="cpython-" + step.python.replace(".", ""))
    tree = finish(wheel, bytecode)
    key = step_key(step, None)
    store.publish(key, wheel.root, tree, label=step_label(step), fields=key_fields(step, None))


def shared_paths(wheels: Sequence[tuple[InstallWheel, Layer]], store: Store) -> list[str]:
    """One line for each pair of wheels that bring different content for the same paths: the later of *wheels* wins."""
    owners: dict[str, tuple[InstallWheel, str]] = {}
    clashes: dict[tuple[InstallWheel, InstallWheel], list[str]] = {}
    for step, layer in wheels:
        for entry in store.tree_of(layer):
            if entry.type == "dir" or "/__pycache__/" in entry.path:
                continue
            owner = owners.get(entry.path)
            if owner is not None and owner[1] != entry.sha256:
                clashes.setdefault((owner[0], step), []).append(entry.path)
            owners[entry.path] = (step, entry.sha256)
    return [
        f"`{later.name}` replaces {len(paths)} file{'s' if len(paths) > 1 else ''} of `{earlier.name}`: "
        + ", ".join(path.partition("site-packages/")[2] or path for path in paths[:4])
        + (", …" if len(paths) > 4 else "")
        for (earlier, later), paths in clashes.items()
    ]
