"""Pin an image that others made: from files by what they hold now, from a registry by what its tag meant when it was asked.

A registry is asked once; the answer is recorded below the state directory or kept in a lock (`base_lock_file.py`), and fetched by
its digest from then on. Python is asked of the image only where requirements need to know it (`image_python.py`).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from launcher.errors import ConfigError, LaunchError, Origin
from launcher.plan.answers import keep_answer, read_answer
from launcher.plan.bases.debian_record import debian_architecture
from launcher.plan.bases.image_python import with_python
from launcher.plan.bases.pinned_base import Base
from launcher.plan.bases.pinning import Pinning
from launcher.plan.image_plan import LEFT_OVERS, RUN_NETWORK
from runtime.build.plan import BuildPlan, ImageConfig, ImportImage, RunCommand, env_of
from runtime.errors import NetworkError, RuntimeFailure
from runtime.light_dataclasses import dataclass, replace
from runtime.oci.digest import Digest, digest_json
from runtime.oci.reference import Bootstrap, Remote, parse_reference, shown_reference
from runtime.state_dir import StateDir


@dataclass(frozen=True, slots=True)
class PinnedReference:
    """An image in which nothing floats."""

    step: ImportImage
    config: dict[str, Any]
    """The execution part of its configuration: Env, User, WorkingDir, Entrypoint, Cmd, OnBuild, …"""
    warnings: tuple[str, ...] = ()


def pin_reference(reference: str, pinning: Pinning, *, origin: Origin | None = None) -> PinnedReference:
    """The image *reference*. A registry is asked when nothing is recorded, or to refresh that.

    Raises ConfigError when there is no such image, LaunchError when its registry cannot be asked.
    """
    architecture = debian_architecture()
    try:
        parsed = parse_reference(reference)
        if isinstance(parsed, Remote):
            return _pin_remote(parsed, architecture, pinning)
        if isinstance(parsed, Bootstrap):
            raise ConfigError(f"`{reference}` is a base that is made here, not an image", origin=origin)
        from runtime.build.images.image_source import inspect_image

        contents = inspect_image(reference, architecture=architecture)
    except RuntimeFailure as error:
        from runtime.registry.refusals import NotInRegistry

        # What the registry doesn't have was asked for wrongly; what it didn't answer was not.
        is_ours = isinstance(error, NetworkError) and not isinstance(error, NotInRegistry)
        raised = (LaunchError if is_ours else ConfigError)(error.message, origin=origin, hint=error.hint)
        for note in getattr(error, "__notes__", ()):
            raised.add_note(note)
        raise raised from error
    step = ImportImage(reference=reference, manifest_digest=contents.manifest_digest)
    return PinnedReference(step, contents.execution)


def is_pinned(reference: str, *, state: StateDir) -> bool:
    """Whether `pin_reference` will ask nobody for the image *reference* of a registry."""
    parsed = parse_reference(reference)
    return not isinstance(parsed, Remote) or _read_recorded(state, shown_reference(parsed), debian_architecture()) is not None


def pin_imported(
    reference: str,
    pinning: Pinning,
    *,
    apt: Sequence[str],
    origin: Origin | None = None,
    base_lock: Path | None = None,
    asks_python: bool = True,
) -> Base:
    """The image *reference* as a base, with *apt* packages on it. Not *asks_python*: nobody needs to know its Python."""
    pinned = _pin_from_lock(reference, base_lock, pinning, origin) or pin_reference(reference, pinning, origin=origin)
    plan = BuildPlan((pinned.step,), ImageConfig())
    base = base_of_image(plan, apt, digest=pinned.step.manifest_digest, env=env_of(pinned.config), warnings=pinned.warnings)
    return with_python(base, plan, pinning, name=reference) if asks_python else base


def base_of_image(
    plan: BuildPlan, apt: Sequence[str], *, digest: Digest, env: dict[str, str], warnings: tuple[str, ...] = ()
) -> Base:
    """The image of *plan*, which others made, with *apt* packages on it; its Python is not asked yet."""
    return Base(
        steps=(*plan.steps, *([apt_step(apt)] if apt else [])),
        digest=digest,
        architecture=debian_architecture(),
        env=env,
        has_own_python=True,
        stages=plan.stages,
        warnings=warnings,
    )


def _pin_remote(parsed: Remote, architecture: str, pinning: Pinning) -> PinnedReference:
    record = None if pinning.refresh else _read_recorded(pinning.state, shown_reference(parsed), architecture)
    warnings: tuple[str, ...] = ()
    if record is None:
        record = _ask_registry(parsed, architecture, pinning)
        warnings = _warn_of_moved_tag(parsed, pinning.environ)
    # The digest of the image for this machine: it is what is fetched, whatever the tag means by then.
    step = ImportImage(reference=_by_digest(parsed, record.manifest_digest), manifest_digest=record.manifest_digest)
    return PinnedReference(step, record.config, warnings)


def _ask_registry(parsed: Remote, architecture: str, pinning: Pinning) -> _Answer:
    from runtime.registry.pull import resolve

    contents = resolve(parsed, architecture=architecture, environ=pinning.environ)
    answer = _Answer(contents.manifest_digest, contents.execution)
    # Recorded under its digest too: that is what a lock names, and it holds when the tag has been asked for again.
    for name in (_by_digest(parsed, answer.manifest_digest), shown_reference(parsed)):
        _record(pinning.state, name, architecture, answer)
    return answer


def _by_digest(parsed: Remote, digest: Digest) -> str:
    return shown_reference(replace(parsed, digest=digest))


def _warn_of_moved_tag(parsed: Remote, environ: Mapping[str, str]) -> tuple[str, ...]:
    """A warning when `name:tag@sha256:…` names two images. The digest decides, as it does for docker."""
    if parsed.tag is None or parsed.digest is None:
        return ()
    from runtime.registry.pull import tag_digest

    try:
        there = tag_digest(parsed, environ=environ)
    except RuntimeFailure:
        # The image is there; what its tag means is nothing to fail for.
        return ()
    if there == parsed.digest:
        return ()
    tag = shown_reference(replace(parsed, digest=None))
    means = f"is `{there}` now" if there is not None else "is not in the registry any more"
    return (f"`{tag}` {means}; the digest that it was pinned to is used: `{parsed.digest}`",)


def _pin_from_lock(reference: str, base_lock: Path | None, pinning: Pinning, origin: Origin | None) -> PinnedReference | None:
    """What the lock beside the experiment says of *reference*; None when there is none, or it is for another one."""
    if base_lock is None or pinning.refresh:
        return None
    from launcher.plan.bases.base_lock_file import read_image_lock

    locked = read_image_lock(base_lock, reference=reference)
    if locked is None:
        return None
    if locked.pinned is None:
        found = pin_reference(reference, pinning, origin=origin)
        return replace(found, warnings=(*found.warnings, *locked.warnings))
    found = pin_reference(locked.pinned, pinning, origin=origin)
    return replace(found, warnings=locked.warnings)


def apt_step(packages: Sequence[str]) -> RunCommand:
    """Install *packages* as the image's own apt does."""
    names = " ".join(shlex.quote(name) for name in packages)
    return RunCommand(
        argv=("/bin/sh", "-ec", f"apt-get update\napt-get install -y --no-install-recommends {names}"),
        env=(("DEBIAN_FRONTEND", "noninteractive"), ("HOME", "/root")),
        network=RUN_NETWORK,
        label=f"apt-get install {' '.join(packages)}",
        drop=LEFT_OVERS,
    )


_FORMAT = 1


class _Answer(NamedTuple):
    """What a registry said that a reference means."""

    manifest_digest: Digest
    """Of the image for this machine."""
    config: dict[str, Any]
    """The execution part of its configuration."""


def _read_recorded(state: StateDir, reference: str, architecture: str) -> _Answer | None:
    """What was answered for *reference*, in full as `shown_reference` writes it."""
    path = _path(state, reference, architecture)
    return read_answer(path, lambda document: _Answer(Digest(document["manifest"]), document["config"]), format=_FORMAT)


def _record(state: StateDir, reference: str, architecture: str, answer: _Answer) -> None:
    document = {
        "format": _FORMAT,
        "reference": reference,
        "architecture": architecture,
        "manifest": answer.manifest_digest,
        "config": answer.config,
        "asked_at": datetime.now(UTC).replace(microsecond=0).isoformat(),
    }
    keep_answer(_path(state, reference, architecture), document)


def _path(state: StateDir, reference: str, architecture: str) -> Path:
    key = digest_json({"reference": reference, "architecture": architecture})
    return state.cache / "bases" / f"reference-{key.hex}.json"
