"""Pin what an image is made of: its base and the lock of its requirements, or an image that is there already.

The lock needs the base's exact Python. Where the archive has to be asked for the base, the requirements are resolved beside it
for the Python that the suite was released with; the second, proper question then finds the answer recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from launcher.config.spec import ExperimentSpec, Image
from launcher.errors import ConfigError, LaunchError
from launcher.plan.bases.base_image import base_plan, check_python, expected_python, is_recorded, pin_base
from launcher.plan.bases.pinned_base import Base, SdistBase
from launcher.plan.bases.pinning import Pinning
from launcher.plan.bases.python_choice import is_chosen_image, remembered_choice, unreachable_base, with_managed_python
from launcher.plan.image_plan import apt_packages, build_secrets, debian_source_of
from launcher.plan.launch_plan import CodeSnapshot, Lock
from launcher.plan.origins import Where, shown_path
from launcher.plan.refusals import refuse_two_bases
from launcher.plan.requirements.choose_lock import choose_lock, has_requirements, request_of
from launcher.plan.requirements.error_origins import add_package_origin, add_requirement_origin
from launcher.plan.requirements.resolve import resolve
from runtime.state_dir import StateDir

if TYPE_CHECKING:
    from threading import Thread


class ImagePins(NamedTuple):
    """What an image is made of."""

    base: Base
    lock: Lock | None
    name: str
    """What the base is called."""
    warnings: tuple[str, ...] = ()
    image: Image | None = None
    """What was asked for, with the base that was taken; None where that is no `image` of an experiment."""
    code: CodeSnapshot | None = None
    """What a Dockerfile's image took of its context."""


class ImagePinner:
    """Pins the image that *spec* asks for. *where* gives the origins of its keys."""

    def __init__(self, spec: ExperimentSpec, pinning: Pinning, where: Where) -> None:
        self._spec = spec
        self._pinning = pinning
        self._where = where

    def pin(self, experiment_file: Path | None) -> ImagePins:
        """Base and lock. *experiment_file* is what lock files lie beside."""
        pins = self._pin_image(experiment_file) if self._spec.image.dockerfile is None else self.pin_dockerfile()
        return self._with_lock(pins, experiment_file)

    def _pin_image(self, experiment_file: Path | None) -> ImagePins:
        spec, base_lock = self._spec, None if experiment_file is None else experiment_file.with_suffix(".base.lock")
        beside = None
        if has_requirements(spec) and not is_recorded(spec.image, self._pinning, base_lock=base_lock):
            beside = self._resolve_beside()
        pins = self.pin_base(base_lock)
        if beside is not None:
            beside.join()
        return pins

    def pin_base(self, base_lock: Path | None = None) -> ImagePins:
        """The base that `image.base` names, or that has `image.python`."""
        image, where = self._spec.image, self._where
        if not is_chosen_image(image, where):
            return self._pin_base_of(image, base_lock)
        image = remembered_choice(image, self._pinning, base_lock=base_lock)
        try:
            return self._pin_base_of(image, base_lock)
        except LaunchError as error:
            if not is_chosen_image(image, where):
                raise
            refused = error
        try:
            pins = self._pin_base_of(with_managed_python(image), base_lock)
        except LaunchError as error:
            raise unreachable_base(refused, error, image, where) from error
        warning = f"`{image.base}` cannot be had ({refused.message}): its Python is uv's, on `{pins.name}`"
        return pins._replace(warnings=(*pins.warnings, warning))

    def _pin_base_of(self, image: Image, base_lock: Path | None) -> ImagePins:
        where = self._where
        with add_package_origin(image, where):
            base = pin_base(image, self._pinning, apt=apt_packages(image), origin=where("image.base"), base_lock=base_lock)
        check_python(image.python, base, name=image.base, origin=where("image.python") or where("image.requirements"))
        return ImagePins(base, None, image.base, base.warnings, image)

    def pin_dockerfile(self) -> ImagePins:
        """The image of `image.dockerfile` as the base, without a lock. Its Python is asked only if something depends on it; then
        the image is built for it."""
        from launcher.plan.bases.dockerfile_image import as_base, context_snapshot, read_dockerfile, request_of

        spec, where, pinning = self._spec, self._where, self._pinning
        request = request_of(spec.image)
        refuse_two_bases(where)
        translated = read_dockerfile(request, pinning, origin=where("image.dockerfile"), target_origin=where("image.target"))
        name = shown_path(Path(request.dockerfile))
        base = as_base(
            translated,
            pinning,
            name=name,
            apt=apt_packages(spec.image),
            asks_python=has_requirements(spec) or spec.image.python is not None,
            secrets=build_secrets(spec, pinning.environ),
            mirror=spec.image.mirror,
        )
        check_python(spec.image.python, base, name=name, origin=where("image.python"))
        code = context_snapshot(translated, request, environ=pinning.environ)
        return ImagePins(base, None, name, base.warnings, code=code)

    def _with_lock(self, pins: ImagePins, experiment_file: Path | None) -> ImagePins:
        """*pins* with the lock of the requirements, if there are any."""
        spec, base = self._spec, pins.base
        if not has_requirements(spec):
            return pins
        if base.interpreter is None:
            hint = "`image.base=bootstrap:debian/trixie` has Python 3.13"
            raise ConfigError(
                f"the base `{pins.name}` has no Python to install requirements for",
                origin=self._where("image.requirements"),
                hint=hint if spec.image.dockerfile is None else "a RUN of the Dockerfile can install one",
            )
        with add_requirement_origin(spec.image, self._where):
            chosen = choose_lock(spec, base.python, self._pinning, experiment_file=experiment_file, sdists=self.sdist_base(base))
        return pins._replace(lock=chosen.lock, warnings=(*pins.warnings, *chosen.warnings))

    def _resolve_beside(self) -> Thread | None:
        from threading import Thread

        python = expected_python(self._spec.image)
        if python is None:
            return None

        def resolve_early() -> None:
            from runtime.errors import RuntimeFailure

            try:
                resolve(request_of(self._spec), python, self._pinning._replace(refresh=False))
            except (LaunchError, RuntimeFailure):
                # The proper question, a moment later, meets the same failure and reports it.
                return

        thread = Thread(target=resolve_early, name="resolve-requirements")
        thread.start()
        return thread

    def sdist_base(self, base: Base) -> SdistBase:
        """*base*, for code of source distributions that has to run to tell what it needs."""
        assert base.interpreter is not None
        return SdistBase(
            layers=lambda: self._built_layers(base),
            python=base.interpreter.executable,
            env=base.env,
            has_packages=base.has_own_python,
        )

    def _built_layers(self, base: Base) -> Sequence[Path]:
        from runtime.build.sources import BuildSources

        image, state, environ = self._spec.image, self._pinning.state, self._pinning.environ
        debian = partial(debian_source_of, base.steps, image, state=state, environ=environ)
        sources = BuildSources(debian=debian, mirror=image.mirror, secrets=build_secrets(self._spec, environ))
        return self._pinning._replace(observer=None).built_layers(base_plan(base), sources)


def pin_existing_image(reference: str, *, state: StateDir, as_dockerfile: bool = False) -> ImagePins:
    """An image of the store (a name, or a digest or its beginning) as the base, without the code that it was built with.

    *as_dockerfile*: it takes the place of one that a Dockerfile makes, so its command, user and working directory count.
    Its layers become a step of their own, under a key that leads to them, so that the builder finds it done.
    """
    from launcher.plan.bases.stored_image import step_of_layers
    from runtime.build.plan import env_of
    from runtime.store.store import Store

    store = Store(state.store)
    image = store.image(reference)
    kinds = [(store.key_fields(layer.key) or {}).get("kind") for layer in image.layers]
    # What `code.setup` made of the code goes with it.
    layers = image.layers[: kinds.index("copy-in")] if "copy-in" in kinds else image.layers
    if not layers:
        raise ConfigError(f"image `{reference}` has nothing but code")
    step = step_of_layers(image, layers, store)
    architecture = str(image.config.get("architecture", "amd64"))
    config = None
    if as_dockerfile:
        from launcher.plan.dockerfile.image_draft import ImageDraft

        config = ImageDraft.of_base(image.execution, {}).to_config(architecture=architecture)
    base = Base(
        steps=(step,),
        digest=image.digest,
        interpreter=None,
        platform="",
        architecture=architecture,
        env=env_of(image.execution),
        image_config=config,
    )
    return ImagePins(base, None, step.reference)
