"""Remember resolutions, so that an unchanged launch asks no index.

Two steps, as ccache does. The key holds what is known before anything is read: the requirements, Python, platform, and the
user's pip and uv settings (addresses without user and password). Its entry names the other files that the resolution saw
(constraints, find-links directories) with their state; a hit needs both. Neither says where the project lies, so two clones of
it have one record. On the way of every launch: light imports only.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from launcher.plan.answers import keep_answer, read_answer
from launcher.plan.launch_plan import Lock, LockedWheel
from launcher.plan.requirements.pip_settings import pip_config_files, uv_config_files
from runtime.http.proxies import without_user_info
from runtime.oci.digest import Digest, digest_json

_VERSION = 2
_NO_INFLUENCE = frozenset(
    [
        "PIP_CERT",
        "PIP_CLIENT_CERT",
        "PIP_TIMEOUT",
        "PIP_DEFAULT_TIMEOUT",
        "PIP_RETRIES",
        "PIP_PROXY",
        "PIP_CACHE_DIR",
        "PIP_DISABLE_PIP_VERSION_CHECK",
        "PIP_NO_INPUT",
        "PIP_PROGRESS_BAR",
        "PIP_ROOT_USER_ACTION",
        "PIP_BREAK_SYSTEM_PACKAGES",
        "UV_CACHE_DIR",
        "UV_HTTP_TIMEOUT",
        "UV_HTTP_RETRIES",
        "UV_LINK_MODE",
        "UV_NO_PROGRESS",
        "UV_COMPILE_BYTECODE",
        "UV_PYTHON",
        "UV_SYSTEM_PYTHON",
        "UV_CONCURRENT_DOWNLOADS",
    ]
)
"""Variables about the transport, or that `runtime.build.wheels.uv_program` keeps from uv."""


def settings_digest(environ: Mapping[str, str], directory: Path) -> Digest:
    """Digest of everything outside the requirements that decides what uv finds. Bytes, not meaning: nothing is parsed."""
    files = [[file.name, digest] for file, digest in _settings_files(environ, directory)]
    return digest_json([files, _settings_variables(environ)])


def older_settings_digest(environ: Mapping[str, str], directory: Path) -> Digest:
    """The same as it was when the names of the files had a part in it."""
    return digest_json(
        {os.fspath(file): digest for file, digest in _settings_files(environ, directory)} | _settings_variables(environ)
    )


def _settings_files(environ: Mapping[str, str], directory: Path) -> Iterator[tuple[Path, str]]:
    for file in (*pip_config_files(environ), *uv_config_files(environ, directory)):
        content = _content(file)
        if content is not None:
            yield file, hashlib.sha256(without_user_info(content.decode("latin-1")).encode("latin-1")).hexdigest()


def _settings_variables(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: os.fsencode(without_user_info(value)).decode("utf-8", "replace")
        for name, value in environ.items()
        if name.startswith(("PIP_", "UV_")) and name not in _NO_INFLUENCE
    }


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None


def fingerprint(place: str) -> str:
    """State of a file (its content) or a directory (names, sizes and times of its files)."""
    try:
        with os.scandir(place) as entries:
            listing = sorted((entry.name, *_size_and_time(entry)) for entry in entries)
        return hashlib.sha256(repr(listing).encode()).hexdigest()
    except NotADirectoryError:
        content = _content(Path(place))
        return "unreadable" if content is None else hashlib.sha256(content).hexdigest()
    except OSError:
        return "missing"


def _size_and_time(entry: os.DirEntry[str]) -> tuple[int, int]:
    try:
        stat = entry.stat()
    except OSError:
        return -1, -1
    return stat.st_size, stat.st_mtime_ns


def find_recorded(records: Path, key: Digest, *, directory: Path) -> Lock | None:
    """The resolution that was recorded under *key* below *records*, if what it looked at is unchanged; *directory* is where
    relative places start."""

    def unchanged(document: dict[str, Any]) -> Lock | None:
        seen = document["watched"].items()
        if document["version"] != _VERSION or any(fingerprint(os.path.join(directory, place)) != state for place, state in seen):
            return None
        return lock_from_document(document["lock"], source="recorded")

    return read_answer(records / f"{key.hex}.json", unchanged)


def record(
    records: Path, key: Digest, lock: Lock, *, watched: Iterable[str], addresses: Mapping[str, str], directory: Path
) -> None:
    """Record *lock* under *key* together with the state of the *watched* files and directories; beside it the *addresses* of
    its files (file name → URL), which only a pylock.toml needs."""
    seen = {relative_place(place, directory): fingerprint(place) for place in watched}
    document = {"version": _VERSION, "watched": seen, "lock": lock_to_document(lock)}
    keep_answer(records / f"{lock.digest.hex}.addresses", addresses)
    keep_answer(records / f"{key.hex}.json", document)


def relative_place(place: str, directory: Path) -> str:
    """*place* as two clones of a project in *directory* both have it: what lies below it without where that is."""
    below = os.path.relpath(place, directory) if os.path.isabs(place) else ".."
    return place if below.startswith("..") else below


def recorded_addresses(directory: Path, lock: Lock) -> dict[str, str]:
    """File name → URL (without credentials) for the files of *lock*, as far as known."""
    return read_answer(directory / f"{lock.digest.hex}.addresses", dict) or {}


def lock_to_document(lock: Lock) -> dict[str, Any]:
    wheels = [[w.name, w.version, w.sha256, w.filename, w.index, w.sdist, w.size, w.url, w.other_python] for w in lock.wheels]
    document = {"python": lock.python, "platform": lock.platform, "torch": lock.torch, "digest": lock.digest}
    base = {"provided": list(lock.provided), "replaced": list(lock.replaced)}
    return {**document, "wheels": wheels, "warnings": list(lock.warnings), **base}


def lock_from_document(document: Mapping[str, Any], *, source: str) -> Lock:
    wheels = tuple(LockedWheel(*fields) for fields in document["wheels"])
    digest, warnings = Digest(document["digest"]), tuple(document["warnings"])
    return Lock(
        document["python"],
        document["platform"],
        wheels,
        digest,
        source,
        torch=document["torch"],
        warnings=warnings,
        provided=_pairs(document.get("provided", ())),
        replaced=_pairs(document.get("replaced", ())),
    )


def _pairs(rows: Iterable[Iterable[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, version) for name, version in rows)
