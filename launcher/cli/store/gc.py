"""`launch gc`, `launch store gc`: what goes, and how much that is.

Of `LAUNCH_HOME/cache` not what a launch was pinned to (recorded resolutions and bases: without them the same command might mean
other versions), and not the experiments' own `caches`, which are their data.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from launcher.cli import render
from launcher.cli.command import Options
from launcher.errors import ConfigError
from launcher.run.images_in_use import images_in_use
from runtime.plurals import counted, first_few
from runtime.state_dir import state_dir
from runtime.store.garbage import CacheEntry, Collected, Rules, collect
from runtime.store.records import Image
from runtime.store.store import Store
from runtime.store.usage import Thing

_DAY_S = 86_400
_DEFAULT_DAYS = 30.0
_SHOWN = 20

KEPT = ("locks", "bases", "shared")
WHOLE = ("build-mounts", "verify")
"""Directories whose children go as a whole: caches of `RUN --mount=type=cache`, stores that `launch verify --keep` left."""


def collect_garbage(options: Options) -> int:
    state = state_dir()
    gone = collect(
        Store(state.store), _rules(options), keep=images_in_use(state), caches=cache_entries(state.cache), dry_run=options.dry_run
    )
    if options.json:
        render.print_json(_document(gone, dry_run=options.dry_run))
    else:
        _print(gone, dry_run=options.dry_run)
    if gone.over_bytes:
        render.warn(f"{render.size(gone.over_bytes)} more than --max-size are needed by runs, builds, pins or names")
    if gone.only_named and not options.json:
        names = first_few([f"`{image.names[0]}`" for image in gone.only_named], most=5)
        render.say(f"{counted(len(gone.only_named), 'image')} only kept by a name: {names}; `--all` takes them too")
    return 1 if gone.over_bytes else 0


def _rules(options: Options) -> Rules:
    days = options.keep_days
    if days is not None and not days >= 0:
        raise ConfigError(f"--keep-days needs a number of days, not `{days}`", hint="`--keep-days 7`")
    if days is None and options.max_size is None:
        days = _DEFAULT_DAYS
    most = None if options.max_size is None else _bytes(options.max_size)
    return Rules(unused_s=None if days is None else days * _DAY_S, max_bytes=most, even_named=options.all)


def _bytes(text: str) -> int:
    from launcher.config.quantities import size_bytes

    if text.isdigit():
        size = int(text)
        if 0 < size < 1_000_000:
            hint = f"`--max-size {text}GB`, `--max-size {text}MB`; `{text}B` for so many bytes"
            raise ConfigError(f"--max-size {text}: of what", hint=hint)
        return size
    try:
        wanted: int = size_bytes(text)
    except ValueError as error:
        raise ConfigError(f"--max-size: {error}", hint="`--max-size 20GB`") from error
    return wanted


def _print(gone: Collected, *, dry_run: bool) -> None:
    for image in gone.images[:_SHOWN]:
        print(f"{image.digest.short}  {', '.join(image.names) or '-'}")
    if len(gone.images) > _SHOWN:
        print(f"… and {len(gone.images) - _SHOWN} images more")
    parts = [counted(len(gone.images), "image"), counted(len(gone.layers), "layer"), counted(len(gone.blobs), "blob")]
    if gone.caches:
        parts.append(counted(len(gone.caches), "cache file"))
    removed, left = ("would be removed", "would be left") if dry_run else ("removed", "left")
    print(f"{', '.join(parts)} {removed}: {render.size(gone.freed_bytes)}; {render.size(gone.left_bytes)} {left}")


def _document(gone: Collected, *, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "images": [_image_document(image) for image in gone.images],
        "layers": [str(diff_id) for diff_id in gone.layers],
        "blobs": [str(digest) for digest in gone.blobs],
        "caches": [str(entry.path) for entry in gone.caches],
        "freed_bytes": gone.freed_bytes,
        "left_bytes": gone.left_bytes,
        "over_bytes": gone.over_bytes,
        "only_named": [_image_document(image) for image in gone.only_named],
    }


def _image_document(image: Image) -> dict[str, object]:
    return {"image_digest": str(image.digest), "names": list(image.names)}


def cache_entries(cache: Path) -> list[CacheEntry]:
    """Every file (of WHOLE: directory) that may go, with its size and when it was last used."""
    found: list[CacheEntry] = []
    for path in _children(cache):
        if path.name in KEPT:
            continue
        found += _whole(path) if path.name in WHOLE else _files(path)
    return found


def _whole(directory: Path) -> Iterator[CacheEntry]:
    for path in _children(directory):
        if path.suffix == ".lock":
            continue  # of a cache that may be in use: see `runtime.build.run.run_mounts`
        lock = path.with_name(f"{path.name}.lock")
        things = [entry.thing for entry in _files(path)]
        times = [place.lstat().st_mtime for place in (path, lock) if place.exists()]
        used_at = max([*times, *(thing.used_at for thing in things)], default=0.0)
        yield CacheEntry(path, Thing(sum(thing.size_bytes for thing in things), used_at), lock if lock.exists() else None)


def _files(path: Path) -> Iterator[CacheEntry]:
    if path.is_dir() and not path.is_symlink():
        for child in _children(path):
            yield from _files(child)
        return
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    yield CacheEntry(path, Thing(status.st_size, status.st_mtime))


def _children(directory: Path) -> list[Path]:
    try:
        return [directory / name for name in sorted(os.listdir(directory))]
    except (FileNotFoundError, NotADirectoryError):
        return []
