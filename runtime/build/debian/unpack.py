"""Write the contents of .debs below one directory, several at a time, and keep what the disk cannot say: owners.

The tree has a merged /usr from the start: what a package ships below `/bin`, `/lib`, … is written below `/usr`. Every path is
claimed before it is written, and parents are directories that we made, so no package can make another's files land elsewhere
through a symlink. Conffiles are laid down as they are (their hashes go into dpkg's database, see `dpkg_database.py`).
Owners, modes and links are returned as entries; `runtime.store` brings the files into that form.
"""

from __future__ import annotations

import os
import tarfile
import threading
from pathlib import Path

from runtime.build.debian.deb_file import clean_path, tar_members
from runtime.errors import BadContent, BuildError
from runtime.layer.tree import TreeEntry
from runtime.light_dataclasses import dataclass, field
from runtime.whole_file import write_all

_MERGED = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")


def merge_usr(path: str) -> str:
    """*path* with its first directory below /usr where that directory is a link: `bin/sh` → `usr/bin/sh`."""
    first, slash, _ = path.partition("/")
    return f"usr/{path}" if slash and first in _MERGED else path


@dataclass(slots=True)
class RootWriter:
    """The root that is being written: which package owns which path. Shared by threads."""

    root: Path
    _base: str = field(init=False)
    _claims: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """Path → (package, whether it is a directory)."""
    _directories: dict[str, tuple[str, TreeEntry]] = field(default_factory=dict)
    _entries: list[TreeEntry] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._base = os.fspath(self.root)

    def entries(self) -> list[TreeEntry]:
        """Everything written so far."""
        return [*self._entries, *(entry for _, entry in self._directories.values())]

    def has(self, path: str) -> bool:
        return path in self._claims

    def directory(self, path: str, *, package: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
        """A directory, which several packages may ship. The first package by name says its mode and owner, base-files
        before all, whatever order they are unpacked in."""
        entry = TreeEntry(path, "dir", mode, uid, gid)
        with self._lock:
            self._make_directory(path, package)
            known = self._directories.get(path)
            if known is None or _precedence(package) < _precedence(known[0]):
                self._directories[path] = (package, entry)

    def file(
        self, path: str, content: bytes | memoryview, *, package: str, mode: int = 0o644, uid: int = 0, gid: int = 0
    ) -> None:
        """A new regular file."""
        with self._lock:
            self._claim(path, package)
            self._entries.append(TreeEntry(path, "file", mode, uid, gid, size=len(content)))
        descriptor = os.open(f"{self._base}/{path}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            write_all(descriptor, content)
        finally:
            os.close(descriptor)

    def symlink(self, path: str, target: str, *, package: str, uid: int = 0, gid: int = 0) -> None:
        with self._lock:
            self._claim(path, package)
            self._entries.append(TreeEntry(path, "symlink", 0o777, uid, gid, link=target))
        os.symlink(target, f"{self._base}/{path}")

    def hard_link(self, path: str, target: str, *, package: str) -> None:
        """A second name of a file that the same package has shipped before."""
        with self._lock:
            if self._claims.get(target) != (package, False):
                raise BadContent(f"package `{package}` links `{path}` to `{target}`, which is no file of it")
            self._claim(path, package)
            self._entries.append(TreeEntry(path, "hardlink", link=target))
        os.link(f"{self._base}/{target}", f"{self._base}/{path}", follow_symlinks=False)

    def _claim(self, path: str, package: str) -> None:
        parent, _, name = path.rpartition("/")
        if not name:
            raise BadContent(f"package `{package}` ships a file without a name")
        if parent:
            self._make_directory(parent, package)
        other = self._claims.get(path)
        if other is not None:
            raise BuildError(
                f"packages `{other[0]}` and `{package}` both ship `/{path}`"
                if other[0] != package
                else f"package `{package}` ships `/{path}` twice"
            )
        self._claims[path] = (package, False)

    def _make_directory(self, path: str, package: str) -> None:
        """Claim *path* and its parents as directories, and make them. The lock is held."""
        known = self._claims.get(path)
        if known is not None:
            if not known[1]:
                raise BuildError(f"package `{package}` ships a directory `/{path}`, which package `{known[0]}` ships as a file")
            return
        parent = path.rpartition("/")[0]
        if parent:
            self._make_directory(parent, package)
        os.mkdir(f"{self._base}/{path}", 0o700)
        self._claims[path] = (package, True)
        # A parent that nobody ships; whoever does ship it later has the say ("~" sorts after every package's name).
        self._directories.setdefault(path, ("~", TreeEntry(path, "dir", 0o755)))


def _precedence(package: str) -> tuple[bool, str]:
    return (package != "base-files", package)


def unpack_data(writer: RootWriter, tar: bytes, *, package: str) -> list[str]:
    """Write the members of a data.tar. Returns the paths as the package names them, for dpkg's list."""
    shipped: list[str] = []
    for member, path, content in tar_members(tar, name=package):
        shipped.append(f"/{path}" if path else "/.")
        if path:
            _write_member(writer, member, merge_usr(path), content, package)
    return shipped


def _write_member(writer: RootWriter, member: tarfile.TarInfo, path: str, content: memoryview, package: str) -> None:
    mode = member.mode & 0o7777
    if path in _MERGED:
        # A plain directory `./bin` (bookworm) and base-files' own link (trixie) are both the link that is there already.
        if not member.isdir() and not (member.issym() and member.linkname.strip("/") == f"usr/{path}"):
            raise BadContent(f"package `{package}` ships `/{path}`, which must be a link to `/usr/{path}`")
    elif member.isdir():
        writer.directory(path, package=package, mode=mode, uid=member.uid, gid=member.gid)
    elif member.isreg():
        writer.file(path, content, package=package, mode=mode, uid=member.uid, gid=member.gid)
    elif member.issym():
        writer.symlink(path, member.linkname, package=package, uid=member.uid, gid=member.gid)
    elif member.islnk():
        writer.hard_link(path, merge_usr(clean_path(member.linkname, name=package)), package=package)
    else:
        raise BadContent(f"package `{package}` ships `/{path}`, which is no file, directory or link")
