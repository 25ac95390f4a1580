"""The logs of a run: opened for whoever writes them, bounded, and made whole files again when the run is over."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from runtime.container.logs import RECORD, LogFiles
from runtime.state_dir import RunDir
from runtime.whole_file import replace_file, write_all

LIMIT_VARIABLE = "LAUNCH_LOG_LIMIT"
DEFAULT_LIMIT = 1 << 30
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_LIMIT = re.compile(r"(\d+)\s*([KMGT]?)(?:i?B)?")
_CHUNK = 1 << 20


def log_limit(environ: Mapping[str, str]) -> int | None:
    """How much of each stream is kept; None = everything. What can't be understood is the default: a log must not stop a run."""
    found = _LIMIT.fullmatch(environ.get(LIMIT_VARIABLE, "").strip())
    if found is None:
        return DEFAULT_LIMIT
    return int(found[1]) * _UNITS[found[2]] or None


@contextmanager
def opened_logs(run_dir: RunDir) -> Iterator[LogFiles]:
    """The run's logs: init writes to them too when its supervisor died."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    with ExitStack() as opened:
        fds = [os.open(path, flags, 0o600) for path in (run_dir.stdout, run_dir.stderr)]
        fds.append(os.open(run_dir.output_index, flags | os.O_APPEND, 0o600))
        for fd in fds:
            opened.callback(os.close, fd)
        yield LogFiles(fds[0], fds[1], fds[2], log_limit(os.environ))


def close_holes(run_dir: RunDir) -> None:
    """Rewrite a log whose middle was given up as what is left of it, with a line in between that says so.

    For the end of a run, when nobody writes any more: a copy of a file with a hole would be as long as all that was ever said.
    A full disk leaves it as it is: a log must not decide how a run ended.
    """
    try:
        cuts = {stream: cut for stream, path in enumerate((run_dir.stdout, run_dir.stderr)) if (cut := _hole(path)) is not None}
        moved = {stream: _without_hole((run_dir.stdout, run_dir.stderr)[stream], *cut) for stream, cut in cuts.items()}
        if moved:
            _move_index(run_dir.output_index, cuts, moved)
    except OSError:
        return


def _hole(path: Path) -> tuple[int, int] | None:
    """Where the data before the hole ends, and where that behind it begins."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        start = os.lseek(fd, 0, os.SEEK_HOLE) if size else size
        return None if start >= size else (start, os.lseek(fd, start, os.SEEK_DATA))
    except OSError:  # ENXIO: nothing but a hole; EINVAL: no such question on this file system
        return None
    finally:
        os.close(fd)


def _without_hole(path: Path, before: int, behind: int) -> int:
    """Returns by how much what lies behind the hole has moved to the front."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with open(path, "rb") as log, open(partial, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as whole:
            _copy(log.fileno(), whole.fileno(), 0, before)
            os.write(whole.fileno(), f"\n[launch: {behind - before} bytes are left out here]\n".encode())
            moved = behind - os.lseek(whole.fileno(), 0, os.SEEK_END)
            _copy(log.fileno(), whole.fileno(), behind, os.fstat(log.fileno()).st_size)
        os.rename(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return moved


def _copy(source: int, target: int, start: int, stop: int) -> None:
    while start < stop and (chunk := os.pread(source, min(_CHUNK, stop - start), start)):
        write_all(target, chunk)
        start += len(chunk)


def _move_index(index: Path, cuts: Mapping[int, tuple[int, int]], moved: Mapping[int, int]) -> None:
    """What an index says of the bytes in a hole is left out; what it says of those behind it moves with them."""
    kept = bytearray()
    for stamp, end in RECORD.iter_unpack(_whole_records(index.read_bytes())):
        before, behind = cuts.get(stamp & 1, (end, 0))
        if stamp and (end <= before or end > behind):
            kept += RECORD.pack(stamp, end if end <= before else end - moved[stamp & 1])
    replace_file(index, bytes(kept))


def _whole_records(content: bytes) -> bytes:
    return content[: len(content) - len(content) % RECORD.size]
