"""Pin an image that others made: from files by what they hold now, from a registry by what its tag meant when it was asked.

A registry is asked once; the answer is recorded below the state directory or kept in a lock (`base_lock_file.py`), and fetched by
its digest from then on. Python is asked of the image only where requirements need to know it (`image_python.py`).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from launcher.errors import ConfigError, LaunchError, Origin
from launcher.plan.bases.debian_record import debian_architecture
from launcher.plan.bases.image_python import with_python
from launcher.plan.bases.pinned_base import Base
from launcher.plan.bases.pinning import Pinning
from launcher.plan.image_plan import LEFT_OVERS, RUN_NETWORK
from runtime.build.plan import BuildPlan, ImageConfig, ImportImage, RunCommand
from runtime.errors import NetworkError, RuntimeFailure
from runtime.oci.digest import Digest, digest_json
from runtime.oci.reference import Bootstrap, Remote, parse_reference, shown_reference
from runtime.state_dir import StateDir
from runtime.whole_file import replace_file


@dataclass(frozen=True, slots=True)
class PinnedReference:
    """An image in which nothing floats."""

    step: ImportImage
    config: dict[str, Any]
    """The execution part of its configuration: Env, User, WorkingDir, Entrypoint, Cmd, OnBuild, …"""
    manifest_digest: Digest
    warnings: tuple[str, ...] = ()

    @property
    def env(self) -> dict[str, str]:
        """`Env` of the configuration as a mapping."""
        pairs = self.config.get("Env")
        return dict(pair.split("=", 1) for pair in pairs or () if isinstance(pair, str) and "=" in pair)


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
    return PinnedReference(step, contents.execution, contents.manifest_digest)


def is_pinned(reference: str, *, state: StateDir) -> bool:
    """Whether `pin_reference` will ask nobody for the image *reference* of a registry."""
    parsed = parse_reference(reference)
    return not isinstance(parsed, Remote) or read_record(state, shown_reference(parsed), debian_architecture()) is not None


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
    base = Base(
        steps=(pinned.step, *([apt_step(apt)] if apt else [])),
        digest=pinned.manifest_digest,
        architecture=debian_architecture(),
        env=pinned.env,
        config=pinned.config,
        has_own_python=True,
        warnings=pinned.warnings,
    )
    plan = BuildPlan(steps=(pinned.step,), config=ImageConfig())
    return with_python(base, plan, pinning, name=reference) if asks_python else base


def _pin_remote(parsed: Remote, architecture: str, pinning: Pinning) -> PinnedReference:
    record = None if pinning.refresh else read_record(pinning.state, shown_reference(parsed), architecture)
    warnings: tuple[str, ...] = ()
    if record is None:
        record = _ask_registry(parsed, architecture, pinning)
        warnings = _warn_of_moved_tag(parsed, pinning.environ)
    # The digest of the image for this machine: it is what is fetched, whatever the tag means by then.
    step = ImportImage(reference=_by_digest(parsed, record.manifest_digest), manifest_digest=record.manifest_digest)
    return PinnedReference(step, record.config, record.manifest_digest, warnings)


def _ask_registry(parsed: Remote, architecture: str, pinning: Pinning) -> ReferenceRecord:
    from runtime.registry.pull import resolve

    contents = resolve(parsed, architecture=architecture, environ=pinning.environ)
    # Recorded under its digest too: that is what a lock names, and it holds when the tag has been asked for again.
    names = (_by_digest(parsed, contents.manifest_digest), shown_reference(parsed))
    _, record = (
        write_record(pinning.state, name, architecture, manifest_digest=contents.manifest_digest, config=contents.execution)
        for name in names
    )
    return record


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
    return (f"`{tag}` {means}; the digest that stands behind it is used: `{parsed.digest}`",)


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


@dataclass(frozen=True, slots=True)
class ReferenceRecord:
    """An answer of a registry."""

    reference: str
    """In full, as `shown_reference` writes it."""
    manifest_digest: Digest
    """Of the image for this machine."""
    config: dict[str, Any]
    """The execution part of its configuration."""
    asked_at: datetime


def read_record(state: StateDir, reference: str, architecture: str) -> ReferenceRecord | None:
    """What is recorded for *reference*; None when nobody has asked, or the record cannot be read."""
    try:
        document = json.loads(_path(state, reference, architecture).read_bytes())
        if document["format"] != _FORMAT:
            return None
        return ReferenceRecord(
            reference=document["reference"],
            manifest_digest=Digest(document["manifest"]),
            config=document["config"],
            asked_at=datetime.fromisoformat(document["asked_at"]),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def write_record(
    state: StateDir, reference: str, architecture: str, *, manifest_digest: Digest, config: dict[str, Any]
) -> ReferenceRecord:
    """Record an answer, with the time of now."""
    made = ReferenceRecord(reference, manifest_digest, config, datetime.now(UTC).replace(microsecond=0))
    path = _path(state, reference, architecture)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    document = {
        "format": _FORMAT,
        "reference": reference,
        "architecture": architecture,
        "manifest": manifest_digest,
        "config": config,
        "asked_at": made.asked_at.isoformat(),
    }
    replace_file(path, json.dumps(document))
    return made


def _path(state: StateDir, reference: str, architecture: str) -> Path:
    key = digest_json({"reference": reference, "architecture": architecture})
    return state.cache / "bases" / f"reference-{key.hex}.json"
