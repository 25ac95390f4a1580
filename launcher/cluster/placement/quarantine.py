"""Take a run's files away from a placement that may live on: it keeps them under other names, and the run goes on in copies.

A process writes where its descriptors and bind mounts point, which is the file and not its name. So each file is copied, the
original moved to `superseded/JOB.RESTARTS`, and the copy given its name: copies and not hard links, which would be one file with
two names. Where the file system can, a copy shares its blocks with the original (copy_file_range(2)).

Order: what says how far another file was read is copied before that file, which is then never the shorter one.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from launcher.tracking.record.run_nodes import node_directories
from runtime.container.lifecycle import reown_to_caller
from runtime.container.logs import RECORD
from runtime.rootfs.removal import remove_tree
from runtime.state_dir import RunDir

_NOT_BETWEEN = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


def set_aside(run_dir: RunDir, placement: str) -> None:
    """After this nothing that *placement* has open is a file of the run. Called again, it goes on where it was killed."""
    set_own_aside(run_dir, placement)
    set_common_aside(run_dir, placement)


def set_own_aside(run_dir: RunDir, placement: str) -> None:
    """What the node of *run_dir* alone writes."""
    aside = superseded_dir(run_dir, placement)
    aside.mkdir(mode=0o700, parents=True, exist_ok=True)
    locks = (run_dir.supervisor_lock, run_dir.place / "tracker.lock")
    for path in (*locks, run_dir.exit_record, run_dir.init_socket, run_dir.overlay):
        _move(path, aside)
    for path in (run_dir.logged, run_dir.metrics, run_dir.system_metrics, run_dir.output_index, run_dir.stdout, run_dir.stderr):
        _exchange(path, aside)
    _exchange(run_dir.artifacts, aside)
    _cut_to_whole_records(run_dir.output_index)


def set_common_aside(run_dir: RunDir, placement: str) -> None:
    """What programs on all nodes write."""
    aside = superseded_dir(run_dir, placement)
    aside.mkdir(mode=0o700, parents=True, exist_ok=True)
    for directory in (run_dir.outputs, run_dir.checkpoints):
        with suppress(FileNotFoundError):
            reown_to_caller(directory)  # an ordinary user could not read all of it
    for path in (run_dir.outputs, run_dir.checkpoints):
        _exchange(path, aside)


def remove_superseded(run_dir: RunDir) -> None:
    """For the end of the run: nobody who may still write there is asked."""
    for node in node_directories(run_dir):
        with suppress(OSError):
            if (node.place / "superseded").is_dir():
                remove_tree(node.place / "superseded")


def say_over(run_dir: RunDir, placement: str) -> None:
    """Of a placement, by itself: it knows that it is superseded, and no process of it is left that could write."""
    directory = superseded_dir(run_dir, placement)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / "over").touch(mode=0o600)


def is_said_over(run_dir: RunDir, placement: str) -> bool:
    try:
        # Not stat(2): NFS asks its server again when a file is opened.
        os.close(os.open(superseded_dir(run_dir, placement) / "over", os.O_RDONLY | os.O_CLOEXEC))
    except FileNotFoundError:
        return False
    return True


def superseded_dir(run_dir: RunDir, placement: str) -> Path:
    return run_dir.place / "superseded" / placement


def _move(path: Path, aside: Path) -> None:
    with suppress(FileNotFoundError):
        path.rename(aside / path.name)


def _exchange(path: Path, aside: Path) -> None:
    """Leave a copy of *path* in its place."""
    kept, copy = aside / path.name, path.with_name(f".{path.name}.copy")
    if not os.path.lexists(kept) and path.exists():
        if copy.is_dir():
            remove_tree(copy)  # somebody was killed in the middle of it
        copy.unlink(missing_ok=True)
        _copy(path, copy)
        path.rename(kept)
    if os.path.lexists(copy) and not path.exists():
        copy.rename(path)


def _copy(source: Path, target: Path) -> None:
    """What is there now. A file that is taken away meanwhile is left out: somebody may be at work in the directory."""
    found = source.lstat()
    if stat.S_ISDIR(found.st_mode):
        target.mkdir(mode=0o700)
        for name in os.listdir(source):
            with suppress(FileNotFoundError):
                _copy(source / name, target / name)
    elif stat.S_ISLNK(found.st_mode):
        target.symlink_to(os.readlink(source))
    elif stat.S_ISREG(found.st_mode):
        _copy_content(source, target)
    else:
        return  # a socket or a fifo is of the processes that had it
    _dress(target, found)


def _copy_content(source: Path, target: Path) -> None:
    with source.open("rb") as original, target.open("xb") as copy:
        os.fchmod(copy.fileno(), 0o600)
        try:
            while os.copy_file_range(original.fileno(), copy.fileno(), 1 << 30):
                continue
        except OSError as error:
            if error.errno not in _NOT_BETWEEN:
                raise
            while os.sendfile(copy.fileno(), original.fileno(), None, 1 << 30):
                continue


def _dress(target: Path, found: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.chown(target, found.st_uid, found.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        os.chmod(target, stat.S_IMODE(found.st_mode))
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns), follow_symlinks=False)


def _cut_to_whole_records(index: Path) -> None:
    with suppress(FileNotFoundError):
        size = index.stat().st_size
        os.truncate(index, size - size % RECORD.size)
