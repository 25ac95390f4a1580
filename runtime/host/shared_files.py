"""A directory that several machines use: which file system it is on, and whether it does what runs and stores ask of it.

What one machine can try out is tried out. Whether *another* machine sees a lock, no single one can: that is read off the mount's
options (nfs(5), mount.lustre(8)), and tried by who has a second machine (`launch doctor --cluster --probe`).
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from runtime.host.finding import Finding, good, off
from runtime.host.machine import Machine
from runtime.kernel.mountinfo import parse_mountinfo
from runtime.light_dataclasses import dataclass
from runtime.rootfs.overlay_trial import why_no_writable_layer
from runtime.rootfs.removal import remove_tree

_SHARED = (
    "nfs",
    "nfs4",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "cifs",
    "smb3",
    "panfs",
    "9p",
    "virtiofs",
    "wekafs",
    "orangefs",
    "pvfs2",
)
_ONE_MACHINE_S = ("ext4", "ext3", "ext2", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "ramfs", "overlay")


@dataclass(frozen=True, slots=True)
class Mount:
    """What LAUNCH_HOME is on, with the options of the mount and of its file system."""

    point: str
    type: str
    source: str
    options: frozenset[str]

    def value(self, option: str) -> str | None:
        return next((word.partition("=")[2] for word in self.options if word.startswith(f"{option}=")), None)

    def __str__(self) -> str:
        return f"{self.type} (`{self.source}` at `{self.point}`)"


def mount_of(directory: Path, machine: Machine) -> Mount:
    """The mount that *directory* is on."""
    real = os.path.realpath(directory)
    found = Mount("/", "unknown", "", frozenset())
    for line in parse_mountinfo(machine.text("/proc/self/mountinfo")):
        # A later mount at the same place, or an inner one, hides the others.
        if (real == line.point or real.startswith(line.point.rstrip("/") + "/")) and len(line.point) >= len(found.point):
            found = Mount(line.point, line.type, line.source, frozenset((*line.options, *line.super_options)))
    return found


def file_system(mount: Mount) -> Finding:
    if mount.type in _SHARED:
        return good(str(mount))
    if mount.type in _ONE_MACHINE_S:
        return off(
            f"{mount}: a file system of this machine",
            advice="nodes see it only where they mount it from here: `launch doctor --cluster --probe` asks one; else LAUNCH_HOME"
            " has to be a directory that all machines see at the same path",
        )
    return off(f"{mount}: not known to be shared", advice="`launch doctor --cluster --probe` asks a node whether it sees it")


def locks(mount: Mount, place: Path) -> Finding:
    """flock(2), by which a run has one supervisor, a layer one builder and a launch one journal."""
    try:
        held = _is_held_against_a_second(place / "lock")
    except OSError as error:
        return off(f"flock fails: {(error.strerror or '').lower()}", advice=_lock_advice(mount) or "runs and stores need it")
    if not held:
        return off("flock lets two in", advice="runs and stores need it")
    advice = _lock_advice(mount)
    if advice is not None:
        return off("flock works on each machine alone: two machines get the same lock", advice=advice)
    if mount.type.startswith("fuse"):
        return off(f"flock works here; whether other machines see it depends on {mount.type}", advice="`--probe` tries it")
    return good("flock works")


def _is_held_against_a_second(path: Path) -> bool:
    first = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        second = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno != errno.EWOULDBLOCK:
                raise
            return True
        finally:
            os.close(second)
        return False
    finally:
        os.close(first)


def _lock_advice(mount: Mount) -> str | None:
    """Which option of the mount keeps a lock from other machines; None when none is known to."""
    if mount.type.startswith("nfs") and (mount.value("local_lock") in ("flock", "all") or "nolock" in mount.options):
        return "mount it with `local_lock=none` and without `nolock` (nfs(5))"
    if mount.type == "lustre" and "flock" not in mount.options:
        return "mount it with `-o flock` (mount.lustre(8)); `localflock` is for one machine"
    if mount.type == "beegfs":
        return "`tuneUseGlobalFileLocks = true` in beegfs-client.conf, unless it is set already: `--probe` tries it"
    return "mount it without `nobrl`" if mount.type in ("cifs", "smb3") and "nobrl" in mount.options else None


def _try_out(work: Callable[[], None], works: str, fails: str, advice: str) -> Finding:
    try:
        work()
    except OSError as error:
        return off(f"{fails}: {(error.strerror or str(error)).lower()}", advice=advice)
    return good(works)


def renames(place: Path) -> Finding:
    def work() -> None:
        (place / "new").write_bytes(b"new")
        (place / "old").write_bytes(b"old")
        os.rename(place / "new", place / "old")
        if (place / "old").read_bytes() != b"new":
            raise OSError(0, "the old file is still there")

    return _try_out(
        work, "rename replaces a file at once", "rename doesn't replace a file", "stores publish by it: no way around"
    )


def appends(mount: Mount, place: Path) -> Finding:
    def work() -> None:
        ends = [os.open(place / "appended", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) for _ in range(2)]
        try:
            for end in (*ends, *ends):
                os.write(end, b"line\n")
        finally:
            for end in ends:
                os.close(end)
        if (place / "appended").read_bytes() != b"line\n" * 4:
            raise OSError(0, "two writers overwrote one another")

    words = "two writers of one machine append to a file"
    if mount.type.startswith("nfs"):
        words += "; those of two machines could overwrite each other's lines (open(2)): a journal has one writer at a time"
    return _try_out(work, words, "appending doesn't work", "journals and logs need O_APPEND")


def attributes(place: Path) -> Finding:
    def work() -> None:
        (place / "attributed").touch()
        os.setxattr(place / "attributed", "user.launch", b"y")

    advice = "images whose layers replace whole directories can't be stored; NFS needs version 4.2 and Linux 5.9 on both sides"
    return _try_out(work, "user extended attributes", "no user extended attributes", advice)


def whiteouts(place: Path) -> Finding:
    return _try_out(
        lambda: os.mknod(place / "whiteout", 0o020000, 0),
        "what a layer removes can be marked (a device 0/0)",
        "what a layer removes can't be marked (a device 0/0)",
        "an image whose steps remove files of lower layers can't be stored here",
    )


def sockets(place: Path) -> Finding:
    def work() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{descriptor}/socket")

    descriptor = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _try_out(
            work, "Unix sockets", "no Unix sockets", "a supervisor that is killed can't be replaced, `launch exec` finds nobody"
        )
    finally:
        os.close(descriptor)


def writable_layers(place: Path) -> Finding:
    failure = why_no_writable_layer(place)
    if failure is None:
        return good("containers' writable layers can lie in it")
    words = failure.replace(f"/{place.name}", "")
    return good(f"{words}: they are made on the node's scratch")


def probe_home(home: Path, machine: Machine) -> dict[str, Finding]:
    """All of it for *home*, or the nearest directory above that is there. Nothing is left behind."""
    base = next(directory for directory in (home, *home.parents) if directory.is_dir())
    mount = mount_of(base, machine)
    found = {"home": file_system(mount)}
    place = base / f".launch-doctor-{os.urandom(6).hex()}"
    try:
        place.mkdir(mode=0o700)
    except OSError as error:
        words = f"`{base}` cannot be written: {(error.strerror or '').lower()}"
        return found | {"home-write": off(words, advice="set LAUNCH_HOME to a directory of yours that all machines see")}
    try:
        return found | {
            "home-locks": locks(mount, place),
            "home-rename": renames(place),
            "home-append": appends(mount, place),
            "home-xattrs": attributes(place),
            "home-whiteouts": whiteouts(place),
            "home-sockets": sockets(place),
            "home-overlay": writable_layers(place),
        }
    finally:
        with suppress(OSError):
            remove_tree(place)
