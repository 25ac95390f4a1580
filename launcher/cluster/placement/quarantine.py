"""Take a run's files away from a placement that may live on: it keeps them under other names, and the run goes on in copies.

A process writes where its descriptors and bind mounts point, which is the file and not its name. So each file is copied, the
original moved to `superseded/JOB.RESTARTS`, and the copy given its name: copies and not hard links, which would be one file with
two names. Where the file system can, a copy shares its blocks with the original (copy_file_range(2)).

Order: what says how far another file was read is copied before that file, which is then never the shorter one.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from launcher.tracking.record.run_nodes import node_directories
from runtime.container.lifecycle import reown_to_caller
from runtime.container.logs import RECORD
from runtime.kernel.file_data import copy_data
from runtime.rootfs.removal import remove_tree
from runtime.state_dir import RunDir


def quarantine(run_dir: RunDir, placement: str) -> None:
    """After this nothing that *placement* has open is a file of the run. Called again, it goes on where it was killed."""
    quarantine_node_files(run_dir, placement)
    quarantine_common_files(run_dir, placement)


def quarantine_node_files(run_dir: RunDir, placement: str) -> None:
    """What the node of *run_dir* alone writes."""
    kept_in = _make_superseded_dir(run_dir, placement)
    locks = (run_dir.supervisor_lock, run_dir.place / "tracker.lock")
    for path in (*locks, run_dir.exit_record, run_dir.init_socket, run_dir.overlay):
        _move(path, kept_in)
    for path in (run_dir.logged, run_dir.metrics, run_dir.system_metrics, run_dir.output_index, run_dir.stdout, run_dir.stderr):
        _replace_by_copy(path, kept_in)
    _replace_by_copy(run_dir.artifacts, kept_in)
    _cut_to_whole_records(run_dir.output_index)


def quarantine_common_files(run_dir: RunDir, placement: str) -> None:
    """What programs on all nodes write."""
    kept_in = _make_superseded_dir(run_dir, placement)
    for directory in (run_dir.outputs, run_dir.checkpoints):
        with suppress(FileNotFoundError):
            reown_to_caller(directory)  # an ordinary user could not read all of it
    for path in (run_dir.outputs, run_dir.checkpoints):
        _replace_by_copy(path, kept_in)


def remove_superseded(run_dir: RunDir) -> None:
    """For the end of the run: whoever may still write there is not waited for."""
    for node in node_directories(run_dir):
        with suppress(OSError):
            if (node.place / "superseded").is_dir():
                remove_tree(node.place / "superseded")


def record_end(run_dir: RunDir, placement: str) -> None:
    """Of a placement, by itself: it knows that it is superseded, and no process of it is left that could write."""
    (_make_superseded_dir(run_dir, placement) / "over").touch(mode=0o600)


def has_recorded_end(run_dir: RunDir, placement: str) -> bool:
    try:
        # Not stat(2): NFS asks its server again when a file is opened.
        os.close(os.open(superseded_dir(run_dir, placement) / "over", os.O_RDONLY | os.O_CLOEXEC))
    except FileNotFoundError:
        return False
    return True


def superseded_dir(run_dir: RunDir, placement: str) -> Path:
    return run_dir.place / "superseded" / placement


def _make_superseded_dir(run_dir: RunDir, placement: str) -> Path:
    directory = superseded_dir(run_dir, placement)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def _move(path: Path, kept_in: Path) -> None:
    with suppress(FileNotFoundError):
        path.rename(kept_in / path.name)


def _replace_by_copy(path: Path, kept_in: Path) -> None:
    """Leave a copy of *path* in its place."""
    kept, copy = kept_in / path.name, path.with_name(f".{path.name}.copy")
    if not os.path.lexists(kept) and path.exists():
        if copy.is_dir():
            remove_tree(copy)  # a process was killed in the middle of it
        copy.unlink(missing_ok=True)
        _copy(path, copy)
        path.rename(kept)
    if os.path.lexists(copy) and not path.exists():
        copy.rename(path)


def _copy(source: Path, target: Path) -> None:
    """What is there now. A file that is taken away meanwhile is left out: a program may be at work in the directory."""
    status = source.lstat()
    if stat.S_ISDIR(status.st_mode):
        target.mkdir(mode=0o700)
        for name in os.listdir(source):
            with suppress(FileNotFoundError):
                _copy(source / name, target / name)
    elif stat.S_ISLNK(status.st_mode):
        target.symlink_to(os.readlink(source))
    elif stat.S_ISREG(status.st_mode):
        _copy_content(source, target)
    else:
        return  # a socket or a fifo is of the processes that had it
    _copy_metadata(target, status)


def _copy_content(source: Path, target: Path) -> None:
    with source.open("rb") as original, target.open("xb") as copy:
        os.fchmod(copy.fileno(), 0o600)
        copy_data(original.fileno(), copy.fileno())


def _copy_metadata(target: Path, status: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _cut_to_whole_records(index: Path) -> None:
    with suppress(FileNotFoundError):
        size = index.stat().st_size
        os.truncate(index, size - size % RECORD.size)
