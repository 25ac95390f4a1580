"""The Debian archive that a command sees whose image names none: a base of ours has an empty source list, because an address in
a layer would make the digest depend on a mirror (`root_skeleton.py`), and has it still when it comes back from a registry.

The list is laid into the command's writable directory and taken out again unless the command changed it: what somebody writes,
edits or removes on purpose is theirs and part of the layer. A mount in its place would lose the first and refuse the others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from runtime.build.debian.apt_sources import find_archives, names_an_archive
from runtime.build.debian.root_skeleton import APT_SOURCE, apt_proxy_file, apt_source_text
from runtime.build.layers_below import LayersBelow
from runtime.errors import BuildError
from runtime.light_dataclasses import dataclass
from runtime.rootfs.mount_spec import TmpfsFile
from runtime.rootfs.overlay import make_writable_directories

_PATH = APT_SOURCE.lstrip("/")
_LIST = "etc/apt/sources.list"


@dataclass(frozen=True, slots=True)
class ShownArchive:
    """What apt needs to know and no layer holds."""

    source: bytes
    files: tuple[TmpfsFile, ...] = ()
    """Mounted: the proxy, which may hold a password."""

    def lay_into(self, overlay: Path, layers: Sequence[Path]) -> list[Path]:
        """Write the source list into the writable directory of *overlay*; the directories that it had to make."""
        make_writable_directories(overlay)
        below = LayersBelow(layers)
        made: list[Path] = []
        where = Path()
        for part in Path(_PATH).parent.parts:
            where /= part
            directory = overlay / "u" / where
            directory.mkdir(mode=0o755)
            if below.kind(str(where)) == "dir":
                before = below.entry(str(where))
                if os.geteuid() == 0:
                    os.chown(directory, before.uid, before.gid)
                directory.chmod(before.mode)
            else:
                directory.chmod(0o755)
                made.append(directory)
        path = overlay / "u" / _PATH
        path.write_bytes(self.source)
        path.chmod(0o644)
        return made

    def take_from(self, upper: Path, made: Sequence[Path]) -> None:
        """Remove what `lay_into` wrote, as far as the command left it as it was."""
        path = upper / _PATH
        try:
            if path.is_symlink() or path.read_bytes() != self.source:
                return
            path.unlink()
            for directory in reversed(made):
                directory.rmdir()
        except OSError:
            return  # removed, replaced, or there is more in the directory by now: what is there is the command's


def archive_to_show(
    layers: Sequence[Path],
    *,
    suite: str | None,
    archives: Mapping[str, str] | None,
    mirror: str | None,
    environ: Mapping[str, str] = os.environ,
) -> ShownArchive | None:
    """For a command on *layers* (bottom first): None where they are no Debian, or name an archive themselves.

    *suite* and *archives* are those that the base is made from, where that is known; else the image says which Debian it is.
    """
    below = LayersBelow(layers)
    if below.kind("etc/apt") != "dir" or below.kind(f"{_LIST}.d") not in ("dir", None) or _names_one(below, layers):
        return None
    suite = suite or _codename(below)
    if suite is None:
        return None
    if not archives:
        try:
            archives = find_archives(suite, mirror=mirror, environ=environ)
        except BuildError:
            return None  # no archive is known here: apt says itself that it has none
    proxy = apt_proxy_file(environ)
    return ShownArchive(apt_source_text(suite, archives).encode(), () if proxy is None else (proxy,))


def _names_one(below: LayersBelow, layers: Sequence[Path]) -> bool:
    paths = {_LIST}
    for layer in layers:
        directory = layer / f"{_LIST}.d"
        if directory.is_dir() and not directory.is_symlink():
            paths.update(f"{_LIST}.d/{name}" for name in os.listdir(directory))
    return any(names_an_archive(path, (below.read(path) or b"").decode(errors="replace")) for path in paths)


def _codename(below: LayersBelow) -> str | None:
    text = (below.read("etc/os-release") or b"").decode(errors="replace")
    fields = dict(re.findall(r"^(\w+)=[\"']?([^\"'\n]*)", text, re.MULTILINE))
    return fields.get("VERSION_CODENAME") or None if fields.get("ID") == "debian" else None
