"""`launch lock`: write the locks of an experiment beside its YAML file.

Two files: the requirements (`digits.lock`, with hashes; or PEP 751's `pylock.digits.toml`) and `digits.base.lock`, the packages
of a Debian base or the digest of a registry's image. A launch uses them while they are current (`choose_lock.py`,
`debian_record.py`, `imported_base.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from launcher.config.compiled import ComposedSpec
from launcher.config.project import INSTALLED_CONF, shipped_conf
from launcher.config.spec import ExperimentSpec, Image
from launcher.errors import ConfigError, LaunchError
from launcher.plan.bases.pinned_base import Base, BasePython
from launcher.plan.bases.pinning import Pinning
from launcher.plan.bases.python_choice import with_fitting_base
from launcher.plan.image_plan import apt_packages
from launcher.plan.launch_plan import Lock
from launcher.plan.origins import where_in
from launcher.plan.pins import ImagePinner
from launcher.plan.refusals import refuse_unsupported
from launcher.plan.requirements.choose_lock import has_requirements, lock_file, request_of
from launcher.plan.requirements.error_origins import add_requirement_origin
from launcher.plan.requirements.lock_file import changes, lock_file_text, pylock_text, read_lock_file
from launcher.plan.requirements.requirement_lines import read_requirements
from launcher.plan.requirements.resolution_record import recorded_addresses
from launcher.plan.requirements.resolve import lock_digest, request_digest, resolve
from runtime.build.observer import PlanObserver
from runtime.build.plan import ImportImage, UnpackDebs
from runtime.light_dataclasses import dataclass, replace
from runtime.oci.reference import Remote, parse_reference
from runtime.state_dir import StateDir
from runtime.whole_file import replace_file


@dataclass(frozen=True, slots=True)
class WrittenLocks:
    """What `launch lock` wrote."""

    path: Path
    """The requirements' lock; the base's, where there are no requirements."""
    lock: Lock
    changes: tuple[str, ...]
    """What differs from the lock that was there: `numpy 2.4.6 → 2.5.5`."""
    base_path: Path | None
    """The base's lock; None for an image in files, which its digest pins."""


def lock_experiment(
    composed: ComposedSpec,
    *,
    state: StateDir,
    environ: Mapping[str, str],
    format: str = "requirements.txt",
    refresh: bool = False,
    observer: PlanObserver | None = None,
) -> WrittenLocks:
    """Resolve the requirements and the base of *composed* and write their locks. *refresh* asks index and archive anew;
    otherwise what the last launch took is locked."""
    spec, file = composed.spec, composed.experiment_file
    if file is None:
        raise ConfigError("nothing is locked without an experiment", hint="`launch lock experiment=NAME`")

    if file.is_relative_to(shipped_conf()) and shipped_conf().name == INSTALLED_CONF:
        hint = f"copy it into a project's conf/experiment/ (`launch init DIR` makes one): {file}"
        raise ConfigError("a lock lies beside its experiment, and this one belongs to the installed launch", hint=hint)

    where = where_in(composed.origins)
    spec = with_fitting_base(spec, where)
    refuse_unsupported(spec, where)
    pinning = Pinning(state, environ, refresh, observer)
    pinner = ImagePinner(spec, pinning, where)
    pins = pinner.pin_base() if spec.image.dockerfile is None else pinner.pin_dockerfile()
    base = pins.base
    lock = None
    if base.interpreter is not None and has_requirements(spec):
        asking = pinning._replace(refresh=refresh or _needs_addresses(format))
        with add_requirement_origin(spec.image, where):
            lock = resolve(request_of(spec), base.python, asking, sdists=pinner.sdist_base(base))
    # Written when everything is known: a refused requirement leaves no half of a lock.
    command = f"launch lock experiment={composed.choices.get('experiment', spec.name)}"
    # FROM lines have their own way to pin: a digest behind the name.
    of_dockerfile = spec.image.dockerfile is not None
    base_path = None if of_dockerfile else _write_base(base, pins.image or spec.image, file, command=command)
    if lock is None:
        if base_path is None:
            hint = "`image.requirements` names some; an image in files is pinned by its digest"
            raise ConfigError(f"`{spec.name}` has nothing to lock", origin=where("image.requirements"), hint=hint)
        return WrittenLocks(base_path, _no_requirements(base), (), base_path)
    path = lock_file(file, lock.torch, pylock=_needs_addresses(format))
    before = read_lock_file(path, python=lock.python)
    _write(path, _text(spec, lock, state=state, format=format, command=command))
    return WrittenLocks(path, lock, tuple(changes(before.lock, lock)) if before else (), base_path)


def _no_requirements(base: Base) -> Lock:
    python = base.interpreter.version if base.interpreter is not None else ""
    return Lock(python, base.platform, (), lock_digest(()), "resolved")


def _needs_addresses(format: str) -> bool:
    """PEP 751 needs an address for every file; only a fresh resolution is sure to have them."""
    return format == "pylock.toml"


def _text(spec: ExperimentSpec, lock: Lock, *, state: StateDir, format: str, command: str) -> str:
    request = request_of(spec)
    inputs = request_digest(request, read_requirements(request), BasePython(lock.python, lock.platform))
    if _needs_addresses(format):
        return pylock_text(lock, inputs=inputs, addresses=recorded_addresses(state.cache / "locks", lock))
    return lock_file_text(lock, inputs=inputs, command=command)


def _write_base(base: Base, image: Image, file: Path, *, command: str) -> Path | None:
    path = file.with_suffix(".base.lock")
    debs = [step for step in base.steps if isinstance(step, UnpackDebs)]
    if not debs or not image.base.startswith("bootstrap:"):
        pinned = _pinned_image(base, image.base)
        if pinned is None:
            return None
        from launcher.plan.bases.base_lock_file import image_lock_text

        _write(path, image_lock_text(image.base, pinned, command=command))
        return path
    from launcher.plan.bases.base_lock_file import base_lock_text
    from launcher.plan.bases.managed_python import managed_python

    added = debs[1].packages if len(debs) > 1 else ()
    apt, python = apt_packages(image), managed_python(base)
    text = base_lock_text(debs[0].packages, added, suite=debs[0].suite, apt=apt, command=command, python=python)
    _write(path, text)
    return path


def _pinned_image(base: Base, name: str) -> str | None:
    """The reference, with its digest, of a base that comes from a registry; what the store made of one has another *name*."""
    first = base.steps[0]
    if not isinstance(first, ImportImage) or not isinstance(there := parse_reference(first.reference), Remote):
        return None
    asked = parse_reference(name)
    return first.reference if isinstance(asked, Remote) and replace(asked, digest=there.digest) == there else None


def _write(path: Path, text: str) -> None:
    try:
        replace_file(path, text, mode=0o666)
    except OSError as error:
        hint = "the experiment's directory must be writable; `launch init DIR` makes a project of your own"
        raise LaunchError(f"cannot write `{path}`: {error.strerror}", hint=hint) from error
