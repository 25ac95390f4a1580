"""Pin the data of a run: say cheaply what `data.NAME` held, so that another run can tell whether it was the same.

A dataset that can be read in about a second is hashed byte by byte (its digest is the same wherever the data lies). A
larger one is pinned by names, sizes and mtimes of its first entries in sorted order: reading 150 GB at every launch is no option.
Before a recorded plan runs again, its data is pinned once more and compared.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from launcher.plan.launch_plan import DataPin, LaunchPlan
from launcher.plan.origins import where_in
from launcher.plan.refusals import refuse_missing
from launcher.plan.stat_cache import StatCache, cache_for
from runtime.oci.digest import digest_json
from runtime.state_dir import StateDir

_CONTENT_BYTES = 256_000_000
_CONTENT_FILES = 5_000
_LISTED_FILES = 100_000


def pin_data(source: str, *, cache_dir: Path) -> DataPin:
    """*source* is a file or a directory that exists."""
    if not os.path.isdir(source):
        # Its name is not in it: the program finds it as /data/NAME.
        return _pin_files(source, [("", source, os.stat(source))], cache_dir)
    entries: list[tuple[str, str, os.stat_result]] = []
    _list(source, "", entries)
    return _pin_files(source, entries, cache_dir)


def _pin_files(source: str, entries: list[tuple[str, str, os.stat_result]], cache_dir: Path) -> DataPin:
    files = [entry for entry in entries if stat.S_ISREG(entry[2].st_mode)]
    size = sum(status.st_size for _, _, status in files)
    readable = len(entries) <= _CONTENT_FILES and size <= _CONTENT_BYTES
    cache = cache_for(source, cache_dir=cache_dir)
    if readable:
        document = [_content_entry(entry, cache) for entry in entries]
        cache.save()
    else:
        document = [[_as_text(name), status.st_size, status.st_mtime_ns] for name, _, status in entries]
    return DataPin(
        source=source,
        digest=digest_json(document),
        kind="content" if readable else "listing",
        files=len(files),
        size_bytes=size,
    )


def _content_entry(entry: tuple[str, str, os.stat_result], cache: StatCache) -> list[str | int]:
    name, path, status = entry
    if stat.S_ISREG(status.st_mode):
        return [_as_text(name), cache.sha256(_as_text(name), path, status)]
    return [_as_text(name), os.readlink(path) if stat.S_ISLNK(status.st_mode) else ""]


def _as_text(name: str) -> str:
    """*name* in a form that JSON can hold, also when it is not UTF-8."""
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")


def _list(root: str, below: str, entries: list[tuple[str, str, os.stat_result]]) -> None:
    """Files and symlinks below *root*/*below* in sorted order, until there are _LISTED_FILES."""
    try:
        with os.scandir(os.path.join(root, below)) as listed:
            children = sorted(listed, key=lambda entry: entry.name)
    except PermissionError:
        # What we may not read, the container may not either.
        return
    for child in children:
        if len(entries) >= _LISTED_FILES:
            return
        name = below + child.name
        if child.is_dir(follow_symlinks=False):
            _list(root, f"{name}/", entries)
        else:
            with suppress(FileNotFoundError):  # it was removed meanwhile
                entries.append((name, child.path, child.stat(follow_symlinks=False)))


def refuse_missing_inputs(plan: LaunchPlan, *, environ: Mapping[str, str]) -> None:
    """Data and secrets that the run had, and this machine or this shell hasn't."""
    refuse_missing(plan.spec, where_in(plan.origins), environ=environ)


def changed_data(plan: LaunchPlan, *, state: StateDir) -> tuple[str, ...]:
    """What is to be said about each `data.NAME` that isn't what it was; empty when all of it is."""
    pins = [(name, then, pin_data(plan.spec.data[name].source, cache_dir=state.cache)) for name, then in plan.data.items()]
    return tuple(_change(name, then, now) for name, then, now in pins if (then.digest, then.kind) != (now.digest, now.kind))


def _change(name: str, before: DataPin, now: DataPin) -> str:
    sizes = f"{before.files} files with {before.size_bytes} bytes then, {now.files} with {now.size_bytes} now"
    known = "" if before.kind == "content" else " (its names, sizes and times are compared: it was too much to read)"
    return f"`data.{name}` (`{now.source}`) has changed since: {sizes}{known}"
