"""Pin what an image is made of: its base and the lock of its requirements, or an image that is there already.

The lock needs the base's exact Python. Where the archive has to be asked for the base, the requirements are resolved beside it
for the Python that the suite was released with; the second, proper question then finds the answer recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.config.spec import ExperimentSpec
from launcher.errors import ConfigError
from launcher.plan.bases.base_image import base_plan, check_python, expected_target, is_recorded, pin_base
from launcher.plan.bases.pinned_base import Base, SdistBase
from launcher.plan.image_plan import apt_packages, build_secrets, debian_source_of
from launcher.plan.launch_plan import CodeSnapshot, Lock
from launcher.plan.origins import Where, shown_path
from launcher.plan.refusals import refuse_two_bases
from launcher.plan.requirements.error_origins import naming_package, naming_requirement
from launcher.plan.requirements.requirement_lock import Target, choose_lock, has_requirements, resolve_requirements
from runtime.build.observer import BuildObserver
from runtime.build.plan import UnpackDebs
from runtime.state_dir import StateDir

if TYPE_CHECKING:
    from threading import Thread


@dataclass(frozen=True, slots=True)
class ImagePins:
    base: Base
    lock: Lock | None
    name: str
    """What the base is called."""
    warnings: tuple[str, ...] = ()
    code: CodeSnapshot | None = None
    """What a Dockerfile's image took of its context."""


def pin_image(
    spec: ExperimentSpec,
    *,
    experiment_file: Path | None,
    state: StateDir,
    environ: Mapping[str, str],
    where: Where,
    refresh: bool = False,
    observer: BuildObserver | None = None,
) -> ImagePins:
    """Base and lock of *spec*."""
    base_lock = None if experiment_file is None else experiment_file.with_suffix(".base.lock")
    apt = apt_packages(spec.image)
    beside = None
    if has_requirements(spec) and not is_recorded(spec.image, apt=apt, state=state, environ=environ, base_lock=base_lock):
        beside = _resolve_beside(spec, state, environ)
    with naming_package(spec.image, where):
        base = pin_base(
            spec.image,
            apt=apt,
            state=state,
            environ=environ,
            origin=where("image.base"),
            base_lock=base_lock,
            refresh=refresh,
            observer=observer,
        )
    check_python(spec.image.python, base, name=spec.image.base, origin=where("image.python"))
    if beside is not None:
        beside.join()
    pins = ImagePins(base, None, spec.image.base, base.warnings)
    return _with_lock(pins, spec, experiment_file=experiment_file, state=state, environ=environ, where=where, refresh=refresh)


def pin_dockerfile(
    spec: ExperimentSpec,
    *,
    experiment_file: Path | None,
    state: StateDir,
    environ: Mapping[str, str],
    where: Where,
    refresh: bool = False,
    observer: BuildObserver | None = None,
) -> ImagePins:
    """The image of `image.dockerfile` as the base of *spec*, with the lock of the requirements that come on top."""
    pins = pin_dockerfile_alone(spec, state=state, environ=environ, where=where, refresh=refresh, observer=observer)
    return _with_lock(pins, spec, experiment_file=experiment_file, state=state, environ=environ, where=where, refresh=refresh)


def pin_dockerfile_alone(
    spec: ExperimentSpec,
    *,
    state: StateDir,
    environ: Mapping[str, str],
    where: Where,
    refresh: bool = False,
    observer: BuildObserver | None = None,
) -> ImagePins:
    """The same without the lock. The image's Python is asked only if something depends on it; then the image is built for it."""
    from launcher.plan.bases.dockerfile_image import as_base, context_snapshot, read_dockerfile, request_of

    request, origin = request_of(spec.image), where("image.dockerfile")
    refuse_two_bases(spec, where)
    translated = read_dockerfile(
        request, state=state, environ=environ, origin=origin, target_origin=where("image.target"), refresh=refresh
    )
    asks_python = has_requirements(spec) or spec.image.python is not None
    name = shown_path(Path(request.dockerfile))
    base = as_base(
        translated,
        name=name,
        apt=apt_packages(spec.image),
        asks_python=asks_python,
        state=state,
        environ=environ,
        secrets=build_secrets(spec, environ),
        observer=observer,
    )
    check_python(spec.image.python, base, name=name, origin=where("image.python"))
    code = context_snapshot(translated, request, environ=environ)
    return ImagePins(base, None, name, base.warnings, code)


def _with_lock(
    pins: ImagePins,
    spec: ExperimentSpec,
    *,
    experiment_file: Path | None,
    state: StateDir,
    environ: Mapping[str, str],
    where: Where,
    refresh: bool,
) -> ImagePins:
    """*pins* with the lock of *spec*'s requirements, if it has any."""
    base = pins.base
    if not has_requirements(spec):
        return pins
    if base.interpreter is None:
        hint = "`image.base=bootstrap:debian/trixie` has Python 3.13"
        raise ConfigError(
            f"the base `{pins.name}` has no Python to install requirements for",
            origin=where("image.requirements"),
            hint=hint if spec.image.dockerfile is None else "a RUN of the Dockerfile can install one",
        )
    with naming_requirement(spec.image, where):
        chosen = choose_lock(
            spec,
            Target.of(base),
            experiment_file=experiment_file,
            state=state,
            environ=environ,
            refresh=refresh,
            sdists=sdist_base(base, spec, state=state, environ=environ),
        )
    return replace(pins, lock=chosen.lock, warnings=(*pins.warnings, *chosen.warnings))


def _resolve_beside(spec: ExperimentSpec, state: StateDir, environ: Mapping[str, str]) -> Thread | None:
    from threading import Thread

    target = expected_target(spec.image)
    if target is None:
        return None

    def resolve() -> None:
        from launcher.errors import LaunchError
        from runtime.errors import RuntimeFailure

        try:
            resolve_requirements(spec, Target(*target), state=state, environ=environ)
        except (LaunchError, RuntimeFailure):
            # The proper question, a moment later, meets the same failure and reports it.
            return

    thread = Thread(target=resolve, name="resolve-requirements")
    thread.start()
    return thread


def sdist_base(base: Base, spec: ExperimentSpec, *, state: StateDir, environ: Mapping[str, str]) -> SdistBase:
    """*base*, for code of source distributions that has to run to tell what it needs."""
    assert base.interpreter is not None
    return SdistBase(
        layers=lambda: base_layers(base, spec, state=state, environ=environ),
        python=base.interpreter.executable,
        env=base.env,
        has_packages=base.has_own_python,
    )


def base_layers(base: Base, spec: ExperimentSpec, *, state: StateDir, environ: Mapping[str, str]) -> Sequence[Path]:
    """Build *base* and give its lower directories, bottom first: where code of a source distribution may run."""
    from runtime.build.builder import build
    from runtime.build.sources import BuildSources
    from runtime.store.store import Store

    suite = next((step.suite for step in base.steps if isinstance(step, UnpackDebs)), None)
    debian = None if suite is None else debian_source_of(suite, spec.image, state=state, environ=environ)
    store = Store(state.store)
    sources = BuildSources(debian=debian, mirror=spec.image.mirror, secrets=build_secrets(spec, environ))
    image = build(base_plan(base), store, sources=sources).image
    return [store.layer_dir(layer) for layer in image.layers]


def pin_existing_image(reference: str, *, state: StateDir, as_dockerfile: bool = False) -> ImagePins:
    """An image of the store (a name, or a digest or its beginning) as the base, without the code that it was built with.

    *as_dockerfile*: it takes the place of one that a Dockerfile makes, so its command, user and working directory count.
    Its layers become a step of their own, under a key that leads to them, so that the builder finds it done.
    """
    from launcher.plan.bases.stored_image import step_of_layers
    from launcher.plan.program.container_plan import env_of
    from runtime.store.store import Store

    store = Store(state.store)
    image = store.image(reference)
    layers = [layer for layer in image.layers if (store.key_fields(layer.key) or {}).get("kind") != "copy-in"]
    if not layers:
        raise ConfigError(f"image `{reference}` has nothing but code")
    step = step_of_layers(image, layers, store)
    architecture = str(image.config.get("architecture", "amd64"))
    config = None
    if as_dockerfile:
        from launcher.plan.dockerfile.image_draft import ImageDraft

        config = ImageDraft.of_base(image.config.get("config") or {}, {}).to_config(architecture=architecture)
    base = Base(
        steps=(step,),
        digest=image.digest,
        interpreter=None,
        platform="",
        architecture=architecture,
        env=env_of(image),
        image_config=config,
    )
    return ImagePins(base, None, step.reference)
