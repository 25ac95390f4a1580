"""What a command changed, as the tree of a layer: owners that a build with one id could not set, and nothing that differs from
run to run and that nobody needs (RESIDUE, each with the reason), so that two builds give one layer.

Everything else stays as the command left it, also in /tmp and in caches: a later step may need it. Dates in accounts, archives
and bytecode follow SOURCE_DATE_EPOCH, which every command has; times of files are the layer's.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from runtime.build.image_users import resolve_user
from runtime.build.layers_below import LayersBelow
from runtime.build.plan import RunCommand
from runtime.container.run_once import OWNER_NOTES
from runtime.layer.diff import diff, matcher
from runtime.layer.noted_owners import apply_noted_owners
from runtime.layer.tree import LAYER_MTIME_S, Tree, TreeEntry
from runtime.light_dataclasses import replace


def changed_tree(upper: Path, step: RunCommand, layers: Sequence[Path], *, tell: Callable[[str], None] | None = None) -> Tree:
    """The tree of directory *upper*, which holds what *step* changed on *layers* (bottom first). *tell* gets warnings."""
    below = LayersBelow(layers)
    remove_sockets(upper)
    if tell is not None:
        warn_of_host_keys(upper, tell)
    tree = diff(upper, drop=(*residue_globs(), *step.drop))
    settle_bytecode(upper, tree)
    if os.geteuid() != 0:
        user = resolve_user(step.user, layers)
        tree = _set_owners(tree, below, (user.uid, user.gid))
        tree = apply_noted_owners(tree, upper, (upper.parent / OWNER_NOTES).read_bytes())
    return Tree(tuple(_without_untouched(tree, below, upper)))


def _set_owners(tree: Tree, below: LayersBelow, user: tuple[int, int]) -> Tree:
    """With one id everything on disk is the caller's: what was there before keeps its owner, what is new is the command's."""
    entries = []
    for entry in tree:
        if entry.type != "whiteout":
            before = below.entry(entry.path) if below.kind(entry.path) is not None else None
            uid, gid = user if before is None else (before.uid, before.gid)
            entry = replace(entry, uid=uid, gid=gid)
        entries.append(entry)
    return Tree(tuple(entries))


def _without_untouched(entries: Iterable[TreeEntry], below: LayersBelow, upper: Path) -> list[TreeEntry]:
    """Without directories that are as they were and hold nothing new: overlayfs copies the parents of a mount point, which is
    gone by now, or of a file that was made and removed."""
    kept: list[TreeEntry] = []
    needed: set[str] = set()
    for entry in sorted(entries, key=lambda entry: entry.path, reverse=True):
        if entry.type == "dir" and entry.path not in needed and _is_untouched(entry, below):
            os.rmdir(upper / entry.path)
            continue
        needed.add(entry.path.rpartition("/")[0])
        kept.append(entry)
    return kept[::-1]


def _is_untouched(entry: TreeEntry, below: LayersBelow) -> bool:
    if entry.opaque or below.kind(entry.path) != "dir":
        return False
    before = below.entry(entry.path)
    return (entry.mode, entry.uid, entry.gid, entry.xattrs) == (before.mode, before.uid, before.gid, before.xattrs)


RESIDUE: dict[str, tuple[str, ...]] = {
    "ldconfig notes inode numbers and change times of libraries; it makes the file anew when it needs it": (
        "var/cache/ldconfig/aux-cache",
    ),
    "apt's caches are maps of memory, in the order of this run; apt makes them anew from its lists": (
        "var/cache/apt/pkgcache.bin",
        "var/cache/apt/srcpkgcache.bin",
    ),
    "logs of package managers say when": (
        "var/log/alternatives.log*",
        "var/log/apt/*.log*",
        "var/log/bootstrap.log",
        "var/log/dnf*.log",
        "var/log/dpkg.log*",
        "var/log/fontconfig.log",
        "var/log/hawkey.log",
        "var/log/yum.log",
    ),
    "a machine's id is random, and an image is no machine: what is below stays, and systemd makes one where there is none": (
        "etc/machine-id",
        "var/lib/dbus/machine-id",
    ),
    "a random seed is of use to the machine only that made it": (
        "var/lib/systemd/random-seed",
        "var/lib/urandom/random-seed",
    ),
    "a copy of a file as it was before the last change, by whoever changed it": (
        "etc/group-",
        "etc/gshadow-",
        "etc/passwd-",
        "etc/shadow-",
        "etc/subgid-",
        "etc/subuid-",
        "var/cache/debconf/*-old",
        "var/lib/dpkg/*-old",
    ),
    "fontconfig and mandb compare times of directories, which the layer sets: their indexes would be stale, and are made anew": (
        "var/cache/fontconfig/*",
        "var/cache/man/**",
    ),
    "pip keeps answers of the index with their dates, and when it last looked for a newer pip": (
        "**/.cache/pip/http",
        "**/.cache/pip/http/**",
        "**/.cache/pip/http-v2",
        "**/.cache/pip/http-v2/**",
        "**/.cache/pip/selfcheck",
        "**/.cache/pip/selfcheck/**",
    ),
    "uv names what it unpacked at random, and keeps answers of the index with their dates": (
        "**/.cache/uv",
        "**/.cache/uv/**",
    ),
    "npm keeps answers of the registry with their dates, and logs named by the hour": (
        "**/.npm/_cacache",
        "**/.npm/_cacache/**",
        "**/.npm/_logs",
        "**/.npm/_logs/**",
    ),
}

HOST_KEYS = ("etc/ssh/ssh_host_*_key", "etc/ssh/ssh_host_*_key.pub")
"""Random too, and no secret when every container of an image has it. Somebody may miss them, so that is said."""

_HOST_KEYS_WORDS = (
    "the SSH host keys that the step made are left out of the image: every container would have the same ones; "
    "let `ssh-keygen -A` make them when a container starts"
)


def residue_globs() -> tuple[str, ...]:
    """All that is left out."""
    return (*(glob for globs in RESIDUE.values() for glob in globs), *HOST_KEYS)


def warn_of_host_keys(upper: Path, tell: Callable[[str], None]) -> None:
    """Say it when *upper*, of which nothing was left out yet, has a host key."""
    directory = upper / "etc/ssh"
    is_host_key = matcher(HOST_KEYS)
    if any(place.is_symlink() or not place.is_dir() for place in (upper / "etc", directory)):
        return
    if any(is_host_key(f"etc/ssh/{name}") for name in os.listdir(directory)):
        tell(_HOST_KEYS_WORDS)


def remove_sockets(upper: Path) -> None:
    """Nobody listens on a socket in an image, and no archive holds one."""
    for directory, _, names in os.walk(upper):
        for name in names:
            location = os.path.join(directory, name)
            if stat.S_ISSOCK(os.lstat(location).st_mode):
                os.unlink(location)


# Bytecode that a program wrote while it ran holds its source's time (PEP 552: flags 0, then time and size); pip and py3compile
# write the source's hash instead, since they have SOURCE_DATE_EPOCH.
_HEADER = struct.Struct("<4sIII")

_RANDOM_PLACE = re.compile(rb"(?<=/pip-target-)[a-z0-9_]{8}(?=/)")
"""`pip install --target` compiles in such a directory, whose name stays in the code; importing sets it right."""


def settle_bytecode(upper: Path, tree: Tree) -> None:
    """Let bytecode name no random place, and let what fits a source of the same layer fit it still with the layer's time."""
    for entry in tree:
        if entry.type == "file" and entry.path.endswith(".pyc"):
            _name_no_random_place(upper / entry.path, entry)
            source = _source_of(entry)
            try:
                found = os.lstat(upper / source)
            except FileNotFoundError:
                continue  # in a layer below, whose times stay: so does the bytecode
            if stat.S_ISREG(found.st_mode):
                _settle(upper / entry.path, entry, found)


def _name_no_random_place(location: Path, entry: TreeEntry) -> None:
    if not entry.mode & 0o400:
        return
    content = location.read_bytes()
    settled = _RANDOM_PLACE.sub(b"00000000", content)
    if settled != content:
        location.chmod(entry.mode | 0o600)
        location.write_bytes(settled)


def _source_of(entry: TreeEntry) -> str:
    parent, _, name = entry.path.rpartition("/")
    if parent.endswith("__pycache__"):
        return f"{parent.removesuffix('__pycache__')}{name.partition('.')[0]}.py"
    return entry.path.removesuffix("c")


def _settle(location: Path, entry: TreeEntry, source: os.stat_result) -> None:
    with location.open("rb") as file:
        header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return
    magic, flags, mtime, size = _HEADER.unpack(header)
    if flags != 0 or (mtime, size) != (int(source.st_mtime) & 0xFFFFFFFF, source.st_size & 0xFFFFFFFF):
        return
    location.chmod(entry.mode | 0o600)  # as an ordinary user modes bind us; the store sets them all
    with location.open("r+b") as file:
        file.write(_HEADER.pack(magic, flags, LAYER_MTIME_S, size))
