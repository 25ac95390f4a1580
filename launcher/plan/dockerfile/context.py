"""The build context: files of a directory that its ignore file leaves in, as COPY, ADD and bind mounts choose them.

Modes are 0644 or 0755, since git keeps no more of them and the image must not depend on the umask of whoever checked out
(docs/guides/images-and-locks.md, Build context). Nothing is read but what an instruction asks for.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from launcher.errors import ConfigError, Origin
from launcher.plan.dockerfile.dockerignore import Ignore
from launcher.plan.stat_cache import StatCache
from runtime.build.copy.go_match import compile_pattern, has_wildcards, unescape
from runtime.light_dataclasses import dataclass
from runtime.suggestions import did_you_mean

DIRECTORY = 0o040755
LINK = 0o120777
FIFO = 0o010644

CopiedFile = tuple[str, str, int, str]
"""As in `ContextFiles.files`: path in the context, path below the target, mode, sha256."""


@dataclass(frozen=True, slots=True)
class ChosenFiles:
    """What one source of COPY or ADD is."""

    source: str
    """Its path in the context, "" for all of it."""
    is_file: bool
    files: tuple[CopiedFile, ...]


class BuildContext:
    """The files below *root* that may be copied. *leave_out* is a directory of ours that may lie inside."""

    def __init__(self, root: Path, *, ignore: Ignore, ignore_file: str, cache: StatCache, leave_out: Path | None = None) -> None:
        self.root = os.path.realpath(root)
        self.ignore_file = ignore_file
        self._way_out = f"a line in `{ignore_file}` leaves it out"
        self.used: dict[str, tuple[int, str]] = {}
        """Path → (mode, sha256) of every file and link that an instruction took."""
        self.size_bytes = 0
        self._leave_out = None if leave_out is None else os.path.realpath(leave_out)
        self._ignore = ignore
        self._cache = cache

    def choose(self, source: str, *, exclude: Ignore | None, origin: Origin) -> list[ChosenFiles]:
        """What *source*, a path or a pattern, means. A pattern that fits nothing means nothing, as in BuildKit."""
        clean = _clean(source)
        if not has_wildcards(clean):
            return [self._one(unescape(clean), source, exclude, origin)]
        try:
            matches = sorted(self._matches("", clean.split("/")))
        except ValueError as error:
            raise ConfigError(f"`{source}` is not a pattern: {error}", origin=origin) from None
        return [self._one(match, match, exclude, origin) for match in matches]

    def choose_with_parents(self, source: str, *, exclude: Ignore | None, origin: Origin) -> list[ChosenFiles]:
        """`--parents`: what fits *source* keeps its path, from the pivot `/./` on where there is one."""
        above, pivot, rest = f"/{source}".partition("/./")
        top, pattern = (_clean(above), _clean(rest)) if pivot and above else ("", _clean(source))
        # BuildKit takes these patterns as its ignore file's: a directory stands for all in it, and there is `**`.
        fits = Ignore.of([pattern or "**"], origin=origin)
        found = self._entries(top, exclude, origin, fits=fits)
        if not found and not has_wildcards(source):
            raise self._missing_error(top if not pattern else f"{top}/{pattern}".lstrip("/"), source, origin)
        return [ChosenFiles(top, False, found)] if found else []

    def mounted(self, source: str, *, origin: Origin) -> tuple[tuple[str, int, str], ...]:
        """(path, mode, sha256) of the files at or below *source*, for `--mount=type=bind`."""
        clean = _clean(source)
        status = self._status(clean)
        if status is None:
            raise self._missing_error(clean, source, origin)
        paths = list(self._below(clean)) if stat.S_ISDIR(status.st_mode) else [clean]
        entries = (self._entry(path, path, origin) for path in paths)
        return tuple(
            (entry[0], entry[2], entry[3]) for entry in entries if entry is not None and entry[2] not in (DIRECTORY, FIFO)
        )

    def save(self) -> None:
        """Keep the digests for the next time."""
        self._cache.save()

    def _one(self, path: str, written: str, exclude: Ignore | None, origin: Origin) -> ChosenFiles:
        name = os.path.basename(path)
        path = self._follow(path, written, origin)
        status = self._status(path)
        if status is None:
            raise self._missing_error(path, written, origin)
        if stat.S_ISSOCK(status.st_mode):
            raise ConfigError(f"`{written}` is a socket, which no image holds", origin=origin)
        if not stat.S_ISDIR(status.st_mode):
            left_out = exclude is not None and exclude.excludes(name)
            entry = None if left_out else self._entry(path, name, origin)
            return ChosenFiles(path, True, () if entry is None else (entry,))
        return ChosenFiles(path, False, self._entries(path, exclude, origin))

    def _follow(self, path: str, written: str, origin: Origin) -> str:
        """*path* without the links on its way: a source that is a link means what it links to (inside it, links stay links)."""
        real = os.path.realpath(f"{self.root}/{path}")
        if real == self.root:
            return ""
        if not real.startswith(f"{self.root}/"):
            hint = "a build sees only files below its context"
            raise ConfigError(f"`{written}` is outside the context `{self.root}`", origin=origin, hint=hint)
        return real[len(self.root) + 1 :]

    def _status(self, path: str) -> os.stat_result | None:
        """What is at *path*; None where there is nothing, or nothing that the ignore file leaves in."""
        try:
            status = os.lstat(f"{self.root}/{path}" if path else self.root)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if path and self._ignore.excludes(path) and not (stat.S_ISDIR(status.st_mode) and any(True for _ in self._below(path))):
            return None
        return status

    def _matches(self, directory: str, segments: Sequence[str]) -> Iterator[str]:
        pattern, rest = compile_pattern(segments[0]), segments[1:]
        for name in self._names(directory):
            path = f"{directory}/{name}" if directory else name
            if pattern.fullmatch(name) is None:
                continue
            if not rest:
                if self._status(path) is not None:
                    yield path
            elif os.path.isdir(f"{self.root}/{path}"):
                yield from self._matches(path, rest)

    def _names(self, directory: str) -> list[str]:
        where = f"{self.root}/{directory}" if directory else self.root
        try:
            return sorted(name for name in os.listdir(where) if f"{where}/{name}" != self._leave_out)
        except NotADirectoryError:
            return []
        except PermissionError:
            raise ConfigError(f"cannot read `{where}` of the build context", hint=self._way_out) from None

    def _below(self, directory: str) -> Iterator[str]:
        """Everything below *directory* that the ignore file leaves in, directories before what they hold."""
        for name in self._names(directory):
            path = f"{directory}/{name}" if directory else name
            inside = stat.S_ISDIR(os.lstat(f"{self.root}/{path}").st_mode)
            if not self._ignore.excludes(path):
                yield path
                if inside:
                    yield from self._below(path)
            elif inside and self._ignore.has_exceptions:
                # `!` can bring back what lies in a directory that is left out; then the directory comes along.
                brought_back = list(self._below(path))
                if brought_back:
                    yield path
                    yield from brought_back

    def _entries(self, top: str, exclude: Ignore | None, origin: Origin, *, fits: Ignore | None = None) -> tuple[CopiedFile, ...]:
        """What lies below *top*, if *exclude* does not have it, and *fits* does."""
        paths = ((path, path[len(top) :].lstrip("/")) for path in self._below(top))
        chosen = (
            self._entry(path, below, origin)
            for path, below in paths
            if (fits is None or fits.excludes(below)) and not (exclude is not None and exclude.excludes(below))
        )
        return tuple(entry for entry in chosen if entry is not None)

    def _entry(self, path: str, target: str, origin: Origin) -> CopiedFile | None:
        """*path* as it will lie in the image; None for a socket, which Docker leaves out too."""
        full = f"{self.root}/{path}"
        status = os.lstat(full)
        try:
            path.encode()
        except UnicodeEncodeError:
            raise ConfigError(f"the file name {path!r} in the build context is not UTF-8", origin=origin) from None
        if stat.S_ISDIR(status.st_mode):
            return path, target, DIRECTORY, ""
        if stat.S_ISSOCK(status.st_mode):
            return None
        if stat.S_ISFIFO(status.st_mode):
            return path, target, FIFO, ""
        if stat.S_ISLNK(status.st_mode):
            mode, digest = LINK, sha256(os.fsencode(os.readlink(full))).hexdigest()
        elif stat.S_ISREG(status.st_mode):
            mode = 0o755 if status.st_mode & 0o100 else 0o644
            try:
                digest = self._cache.sha256(path, full, status)
            except PermissionError:
                raise ConfigError(f"cannot read `{full}`", origin=origin, hint=self._way_out) from None
        else:
            raise ConfigError(f"`{full}` is a device, which cannot be copied", origin=origin, hint=self._way_out)
        if path not in self.used:
            self.size_bytes += status.st_size
        self.used[path] = (mode, digest)
        return path, target, mode, digest

    def _missing_error(self, path: str, written: str, origin: Origin) -> ConfigError:
        if path and os.path.lexists(f"{self.root}/{path}"):
            return ConfigError(
                f"`{written}` is excluded by `{self.ignore_file}`", origin=origin, hint=f"`!{path}` in it brings it back"
            )
        return ConfigError(f"`{written}` is not in the context `{self.root}`", origin=origin, hint=self._near(path))

    def _near(self, path: str) -> str | None:
        directory, _, name = path.rpartition("/")
        while directory and not os.path.isdir(f"{self.root}/{directory}"):
            directory, _, name = directory.rpartition("/")
        return did_you_mean(name, self._names(directory), prefix=f"{directory}/" if directory else "")


def _clean(source: str) -> str:
    """*source* from the context's root: no leading slash, and `..` goes no further up than there."""
    clean = os.path.normpath(f"/{source}").lstrip("/")
    return "" if clean == "." else clean
