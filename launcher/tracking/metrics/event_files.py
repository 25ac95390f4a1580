"""Follow TensorBoard's event files: those below `/outputs`, and those that the program wrote in its working directory.

A metric's name is the tag, and before it the directory where that is not the one of the first scalar:

    runs/a/events…  "loss"                   → loss
    runs/a/Loss_train/events…  "Loss"        → Loss_train/Loss          (add_scalars)
    logs/validation/events…  "epoch_loss"    → validation/epoch_loss    (Keras, after logs/train)

Both places hold what a program made: no link is followed, and a file that isn't what its name says is one note. After the program
what it wrote in its working directory is moved to `outputs/workspace`, and goes by the name it had.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator

from launcher.tracking.metrics.event_format import BadEvents, records, scalars
from launcher.tracking.metrics.metric_log import STEP_MAX, TIME_END_S, FoundMetric, MetricLog
from launcher.tracking.mlflow.rest import fitting_key
from runtime.kernel.safe_open import RESOLVE_NO_SYMLINKS, open_in_root
from runtime.light_dataclasses import dataclass
from runtime.rootfs.overlay import UPPER
from runtime.state_dir import RunDir

_SLICE = 1 << 20
_DEPTH_MAX = 12
_FILES_MAX = 1000
_MARK = ".tfevents."
_MOVED = {"outputs/workspace": "work"}

# A program may write ten thousands of files beside them: looking for new ones shall never take more than a twentieth of the time.
_SCAN_S = 1.0
_SCAN_SHARE = 20

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(slots=True)
class _EventFile:
    source: str
    """`outputs/runs/a/events.out.tfevents…`, `work/…`: its name in `logged.jsonl`."""
    descriptor: int
    offset: int


class EventFiles:
    def __init__(self, run_dir: RunDir, log: MetricLog, *, workdir: str) -> None:
        # Where the program's own mounts lie in the working directory, the writable layer shows nothing: no file is met twice.
        self._places = {"outputs": (run_dir.outputs, ""), "work": (run_dir.overlay / UPPER, workdir.strip("/"))}
        self._log = log
        self._files: dict[str, _EventFile] = {}
        self._home = next((os.path.dirname(source) for source in log.offsets if _MARK in source), None)
        self._next_scan = 0.0

    def follow(self, *, to_the_end: bool = False) -> None:
        if to_the_end or time.monotonic() >= self._next_scan:
            begun = time.monotonic()
            self._scan()
            now = time.monotonic()
            self._next_scan = now + max(_SCAN_S, _SCAN_SHARE * (now - begun))
        for file in self._files.values():
            if file.descriptor >= 0:
                self._read_new(file)

    def _scan(self) -> None:
        found: list[tuple[str, int]] = []
        for name, (root, below) in self._places.items():
            try:
                root_fd = os.open(root, _DIRECTORY)
            except OSError:
                continue
            try:
                start = open_in_root(root_fd, below or ".", _DIRECTORY & ~os.O_CLOEXEC, resolve=RESOLVE_NO_SYMLINKS)
            except OSError:
                continue
            finally:
                os.close(root_fd)
            found += self._new_files(start, name, _DEPTH_MAX)
        # Who wrote first names the others: the order of a directory is no order.
        for source, descriptor in sorted(found, key=lambda each: (os.fstat(each[1]).st_mtime_ns, each[0])):
            self._files[source] = _EventFile(source, descriptor, self._log.offsets.get(source, 0))

    def _new_files(self, directory: int, name: str, depth: int) -> Iterator[tuple[str, int]]:
        """Event files below the open *directory* that are not followed yet, opened. Closes *directory*."""
        try:
            with os.scandir(directory) as entries:
                listed = list(entries)
            for entry in listed:
                source = _MOVED.get(f"{name}/{entry.name}") or f"{name}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    if depth and (inner := _opened(directory, entry.name, _DIRECTORY)) is not None:
                        yield from self._new_files(inner, source, depth - 1)
                elif _MARK in entry.name and source not in self._files and len(self._files) < _FILES_MAX:
                    descriptor = _opened(directory, entry.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
                    if descriptor is None:
                        continue
                    if stat.S_ISREG(os.fstat(descriptor).st_mode):
                        yield source, descriptor
                    else:
                        os.close(descriptor)
        except OSError:
            return  # it was removed meanwhile
        finally:
            os.close(directory)

    def _read_new(self, file: _EventFile) -> None:
        while content := os.pread(file.descriptor, _SLICE, file.offset):
            seen: list[tuple[FoundMetric, int]] = []
            begin, behind = file.offset, file.offset
            try:
                for record, end in records(content):
                    behind = begin + end
                    seen += [(found, behind) for found in self._found_metrics(file, record)]
            except BadEvents as error:
                self._log.note(f"`{file.source}` is not read any further: {error}")
                os.close(file.descriptor)
                file.descriptor = -1
            self._log.add_found(seen, source=file.source)
            file.offset = behind
            if file.descriptor < 0 or behind == begin:
                return

    def _found_metrics(self, file: _EventFile, record: bytes) -> Iterator[FoundMetric]:
        for scalar in scalars(record):
            if self._home is None:
                self._home = os.path.dirname(file.source)
            key = fitting_key(metric_name(scalar.tag, os.path.dirname(file.source), self._home))
            at_ms = int(scalar.time_s * 1000) if 0 <= scalar.time_s < TIME_END_S else None
            yield FoundMetric(key, scalar.value, scalar.step if abs(scalar.step) <= STEP_MAX else None, at_ms)


def metric_name(tag: str, directory: str, home: str) -> str:
    """*tag*, and before it how *directory* is reached from *home*, the directory of the first scalar."""
    if directory == home:
        return tag
    if directory.startswith(f"{home}/"):
        return f"{directory[len(home) + 1 :]}/{tag}"
    shared = os.path.commonpath([directory, home])
    return f"{directory[len(shared) :].strip('/')}/{tag}".lstrip("/")


def _opened(directory: int, name: str, flags: int) -> int | None:
    try:
        return os.open(name, flags, dir_fd=directory)
    except OSError:
        return None  # gone, a link, or not ours to read
