"""Go through the steps of a plan, bottom to top: take each layer that the store has, make the others (`make_step.py`).

The one thing out of order: wheels depend on no layer, so while a base is being made they are fetched and compiled beside it
(`wheel_worker.py`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from runtime.build.cache_key import step_key
from runtime.build.image_assembly import assemble
from runtime.build.make_step import StepMaker
from runtime.build.observer import BuildObserver
from runtime.build.plan import BuildPlan, ImportImage, InstallWheel, MakeVenv, Step
from runtime.build.sources import BuildSources, WheelSource
from runtime.build.step_label import step_label
from runtime.build.step_states import BuiltStep, explain
from runtime.errors import BuildError, StoreError
from runtime.oci.digest import Digest
from runtime.store.failures import disk_errors
from runtime.store.in_use import HeldImage
from runtime.store.records import Image, Layer
from runtime.store.store import Store

if TYPE_CHECKING:
    from runtime.build.wheels.wheel_worker import WheelWorker


def run_steps(
    plan: BuildPlan, store: Store, *, sources: BuildSources, observer: BuildObserver, key: Digest
) -> tuple[Image, tuple[BuiltStep, ...], HeldImage]:
    """Make what is missing of *plan* and assemble the image under plan key *key*. It cannot go before whoever asked has it."""
    _check(plan)
    with disk_errors(store.root, "cannot build"), store.building():
        store.sweep()
        run = _Run(plan, store, sources, observer)
        try:
            run.start_wheels()
            for step in plan.steps:
                with disk_errors(store.root, f"cannot make `{step_label(step)}`"):
                    run.do(step)
        finally:
            run.stop()
        image = assemble(plan, run.built, store, key=key)
        held = store.hold(image)
    if held is None:
        raise StoreError(f"image `{image.digest.short}` was removed while it was built")
    return image, tuple(run.done), held


def _check(plan: BuildPlan) -> None:
    if not plan.steps:
        raise BuildError("the plan has no steps: an image needs a base")
    for steps in (plan.steps, *plan.stages):
        if sum(isinstance(step, ImportImage) for step in steps) > 1:
            raise BuildError("the plan imports more than one image into one stage")
    if any(isinstance(step, InstallWheel) for step in plan.steps) and not any(isinstance(step, MakeVenv) for step in plan.steps):
        raise BuildError("the plan installs wheels and makes no virtual environment for them")


class _Run:
    """One build: what is there so far."""

    def __init__(self, plan: BuildPlan, store: Store, sources: BuildSources, observer: BuildObserver) -> None:
        self._plan = plan
        self._store = store
        self._sources = sources
        self._observer = observer
        self._wheels = tuple(dict.fromkeys(step for step in plan.steps if isinstance(step, InstallWheel)))
        self._wheel_layers: dict[InstallWheel, BuiltStep] = {}
        self._maker = StepMaker(plan, store, sources, observer)
        self._worker: WheelWorker | None = None
        self._pending: list[InstallWheel] = []
        self._early: dict[Step, tuple[tuple[Layer, ...], BuiltStep]] = {}
        self.built: list[tuple[Step, Layer]] = []
        self.done: list[BuiltStep] = []

    @property
    def _below(self) -> list[Layer]:
        return [layer for _, layer in self.built]

    def start_wheels(self) -> None:
        """Begin with missing wheels in another process, when a base has to be made first anyway."""
        missing = self._missing_wheels()
        if not missing:
            return
        states = explain(self._plan, self._store)
        first = next(position for position, state in enumerate(states) if isinstance(state.step, InstallWheel))
        if any(state.layer is None and not isinstance(state.step, MakeVenv) for state in states[:first]):
            from runtime.build.wheels.wheel_worker import start_worker

            self._pending = missing
            self._worker = start_worker(missing, venv=self._venv, store=self._store, source=self._wheel_source())
            for step in missing:
                self._observer.step_started(step)

    def stop(self) -> None:
        """End what still runs beside us (after a failure)."""
        if self._worker is not None:
            self._worker.stop()

    def do(self, step: Step) -> None:
        """Add the layers of *step* on top."""
        if isinstance(step, InstallWheel):
            if not self._wheel_layers:
                self._install_wheels()
            done = self._wheel_layers[step]
            self.built.append((step, done.layer))
            self.done.append(done)
            return
        layers, done = self._early.get(step) or self._made(step)
        self.built += [(step, layer) for layer in layers]
        self.done.append(done)
        self._tell_worker()

    def _made(self, step: Step) -> tuple[tuple[Layer, ...], BuiltStep]:
        return self._maker.make(step, self._below, among=self._plan.steps)

    # Wheels

    @property
    def _venv(self) -> MakeVenv:
        return next(step for step in self._plan.steps if isinstance(step, MakeVenv))

    def _missing_wheels(self) -> list[InstallWheel]:
        return [step for step in self._wheels if self._store.find(step_key(step, None)) is None]

    def _wheel_source(self) -> WheelSource:
        source = self._sources.wheels()
        if source is None:
            raise BuildError("the plan installs wheels, and no source for them is known")
        return source

    def _tell_worker(self) -> None:
        """Let the other process go on as soon as the layers so far hold the interpreter; they need not be configured."""
        if self._worker is None:
            return
        self._worker.pass_on(self._observer)
        if self._worker.told:
            return
        venv = self._venv
        # A source distribution needs more than the interpreter: a configured base, and the compiler of `image.apt`.
        if any(not step.filename.endswith(".whl") for step in self._pending) and len(self.done) < self._plan.steps.index(venv):
            return
        below = self._below
        if _holds(self._store, below, venv.executable):
            self._early[venv] = layers, _ = self._made(venv)
            self._worker.base_ready(below, layers[0])

    def _install_wheels(self) -> None:
        missing = self._pending or self._missing_wheels()
        seconds = 0.0
        if self._worker is not None:
            worker = self._worker
            if not worker.told:
                raise BuildError("the base has no interpreter where the plan expects it", hint="choose a base with Python")
            seconds = worker.join(self._observer)
            self._worker = None
        elif missing:
            seconds = self._install_here(missing)
        new = set(missing) if seconds else set()
        for step in self._wheels:
            layer = self._store.find(step_key(step, None))
            if layer is None:
                raise BuildError(f"the wheel `{step.name} {step.version}` made no layer")
            each = seconds / len(new) if step in new else 0.0
            self._wheel_layers[step] = BuiltStep(step, (layer,), cached=step not in new, seconds=each)
            if step in new:
                self._observer.step_built(step, (layer,), each)
            else:
                self._observer.step_cached(step, (layer,))
        if new:
            self._warn_of_shared_paths()

    def _install_here(self, steps: Sequence[InstallWheel]) -> float:
        from runtime.build.wheels.apply_install_wheel import prepare_wheels

        started = time.monotonic()
        venv = next(layer for step, layer in self.built if isinstance(step, MakeVenv))
        base = [layer for step, layer in self.built if not isinstance(step, MakeVenv)]
        keys, words = [step_key(step, None) for step in steps], "another build installs some of the wheels: waiting for it"
        with self._store.lock(keys, when_taken=lambda: self._observer.message(words)):
            missing = self._missing_wheels()
            if not missing:
                return 0.0
            for step in missing:
                self._observer.step_started(step)
            source = self._wheel_source()
            with prepare_wheels(missing, store=self._store, source=source, observer=self._observer) as prepared:
                prepared.install(base, venv, self._venv)
        return time.monotonic() - started

    def _warn_of_shared_paths(self) -> None:
        from runtime.build.wheels.apply_install_wheel import shared_paths

        for line in shared_paths([(step, self._wheel_layers[step].layer) for step in self._wheels], self._store):
            self._observer.message(line)


def _holds(store: Store, layers: Sequence[Layer], path: str) -> bool:
    """Whether one of *layers* brings the file *path*."""
    return any(os.path.lexists(os.path.join(store.layer_dir(layer), path.lstrip("/"))) for layer in layers)
