"""Room on this machine's own disk for what the file system of LAUNCH_HOME cannot carry: writable layers of containers.

One directory a user, `PLACE/launch-UID`, below the first place that can carry a writable layer: the one that was named, else
$SLURM_TMPDIR, $TMPDIR, /tmp. What is made in it is locked while it is in use, as in `staging.py`: whatever a killed process or
a node that went down left there, the next of ours on this machine removes.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from runtime.errors import StoreError, Unsupported, error_words
from runtime.rootfs.overlay_trial import why_no_writable_layer
from runtime.rootfs.removal import remove_tree_of_container
from runtime.store.staging import sweep

VARIABLES = ("SLURM_TMPDIR", "TMPDIR")
DEFAULT = Path("/tmp")


def room_for_containers(preferred: Path, environ: Mapping[str, str]) -> Path:
    """*preferred*, or this user's scratch where its file system cannot carry a writable layer."""
    return preferred if why_no_writable_layer(preferred) is None else swept_scratch(environ)


def swept_scratch(environ: Mapping[str, str], *, named: str | None = None) -> Path:
    """`scratch_directory` without what processes left there that were killed before containers began."""
    directory = scratch_directory(environ, named=named)
    sweep(directory, remove=_remove)
    return directory


def _remove(path: Path) -> None:
    if path.is_dir():
        with suppress(OSError):  # what can't be removed is no reason not to run
            remove_tree_of_container(path)
    else:
        path.unlink(missing_ok=True)


def scratch_directory(environ: Mapping[str, str], *, named: str | None = None) -> Path:
    """This user's own directory in the first place that can carry a writable layer; made if it is missing. *named* (with
    `$VARIABLES` of this machine) is the only place then. Raises Unsupported with each place and what is wrong with it."""
    refused: list[str] = []
    for place in _places(environ, named):
        try:
            directory = own_directory(place)
        except StoreError as error:
            refused.append(error.message)
            continue
        failure = why_no_writable_layer(directory)
        if failure is None:
            return directory
        refused.append(failure)
    raise Unsupported(
        "there is no room for a container's writable layer on this machine: " + "; ".join(refused),
        hint="`cluster.scratch=DIR` names a directory on a local disk (ext4, xfs, tmpfs); `$VARIABLES` in it are the node's",
    )


def _places(environ: Mapping[str, str], named: str | None) -> Iterator[Path]:
    if named is not None:
        yield make_place(named, environ)
        return
    yield from dict.fromkeys([*(Path(environ[name]) for name in VARIABLES if environ.get(name)), DEFAULT])


def make_place(named: str, environ: Mapping[str, str]) -> Path:
    """The directory that a configuration names, made if it is missing and can be."""
    place = Path(expand_variables(named, environ))
    if place.is_absolute():
        with suppress(OSError):  # `own_directory` says what is wrong with it
            place.mkdir(mode=0o755, parents=True, exist_ok=True)
    return place


def expand_variables(place: str, environ: Mapping[str, str]) -> str:
    """*place* with `$NAME` and `${NAME}` filled in. Raises Unsupported for one that is not set."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if not environ.get(name):
            raise Unsupported(f"`{place}`: `${name}` is not set on this machine")
        return environ[name]

    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", value, place)


def own_directory(place: Path, *, name: str = "launch") -> Path:
    """`PLACE/NAME-UID`, private to this user. Raises StoreError for a place where somebody else could put his own there."""
    directory = place / f"{name}-{os.geteuid()}"
    try:
        _check_place(place)
        with suppress(FileExistsError):
            os.mkdir(directory, 0o700)
        # Not through a link, and looked at by descriptor: anybody may have made it first, in a directory such as /tmp.
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        what = "it is no directory" if error.errno in (errno.ELOOP, errno.ENOTDIR) else error_words(error)
        raise StoreError(f"`{directory}` cannot be used: {what}") from error
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if found.st_uid != os.geteuid():
        raise StoreError(f"`{directory}` belongs to another user (uid {found.st_uid})")
    if found.st_mode & 0o077:
        raise StoreError(f"`{directory}` is open to others (mode {stat.S_IMODE(found.st_mode):o})")
    return directory


def _check_place(place: Path) -> None:
    if not place.is_absolute():
        raise StoreError(f"`{place}` is no absolute path")
    mode = place.stat().st_mode
    if mode & 0o022 and not mode & stat.S_ISVTX and place.stat().st_uid != os.geteuid():
        raise StoreError(f"`{place}`: others may replace what lies in it (mode {stat.S_IMODE(mode):o}, not sticky)")
