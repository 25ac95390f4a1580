"""Failures that a user can cause: shown once, without a traceback, and turned into the exit code.

Shown to whoever typed the command; told to the program that called it (`launcher.library.command`) in a file, as JSON.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from launcher.errors import LaunchError, Origin
from runtime.errors import NoSuchImage, RuntimeFailure, place_and_words

_MACHINE_ERRORS = (
    *(errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ELOOP, errno.EMFILE, errno.ENAMETOOLONG, errno.ENFILE),
    *(errno.ENOMEM, errno.ENOSPC, errno.ENOTDIR, errno.EPERM, errno.EROFS),
)
"""What the machine refuses, and no bug of ours."""


told_fd: int | None = None
"""The file in which a failure is told to the program that called the command."""


class Exit:
    """What the process exits with."""

    code = 0


@contextmanager
def failures_shown(*, debug: bool) -> Iterator[Exit]:
    """The body sets the exit code; a failure of it is shown and sets its own. A bug keeps its traceback; with *debug* every
    failure does."""
    ending = Exit()
    try:
        yield ending
    except LaunchError as error:
        ending.code = _show(error, error.exit_code, debug=debug)
    except RuntimeFailure as error:
        ending.code = _show(error, 2 if isinstance(error, NoSuchImage) else 125, debug=debug)
    except BrokenPipeError:
        _leave_stdout()
        ending.code = 141
    except KeyboardInterrupt:
        ending.code = 130
    except OSError as error:
        ending.code = _show_os_error(error, debug=debug)


def _show(error: LaunchError | RuntimeFailure, exit_code: int, *, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exception(error)
    _tell(error.message, hint=error.hint, origin=getattr(error, "origin", None), notes=getattr(error, "__notes__", ()))
    return exit_code


def _tell(message: str, *, hint: str | None, origin: Origin | None = None, notes: Sequence[str] = ()) -> None:
    if told_fd is None:
        from launcher.cli.render import print_error

        print_error(message, hint=hint, origin=origin, notes=notes)
    else:
        import json

        told = {"message": message, "hint": hint, "origin": None if origin is None else str(origin), "notes": list(notes)}
        os.write(told_fd, json.dumps(told).encode())


def _show_os_error(error: OSError, *, debug: bool) -> int:
    """The machine refused something we did not foresee: full disk, permission, a name that is too long."""
    if debug:
        raise error
    if _has_lost_its_directory():
        _tell("the current directory does not exist any more", hint="`cd` to one that does")
        return 2
    if error.errno not in _MACHINE_ERRORS:
        raise error
    if error.errno == errno.ENOSPC and error.filename is None and _is_stdout_full():
        _leave_stdout()
        notes = getattr(error, "__notes__", ())
        _tell("cannot write to stdout: no space left on device", hint=None, notes=notes)
        return 125
    words = str(error) if error.filename is None else place_and_words(error)
    _tell(words, hint=_hint_for(error), notes=getattr(error, "__notes__", ()))
    return 125


def _hint_for(error: OSError) -> str | None:
    match error.errno:
        case errno.ENOSPC:
            return f"{_room()}`launch gc` frees what no image needs, LAUNCH_HOME moves everything to another disk"
        case errno.EDQUOT:
            return "your disk quota is used up; `launch gc` frees what no image needs"
        case errno.EROFS:
            return "LAUNCH_HOME names another place for all that is written" if _is_of_our_state(error) else None
        case errno.EACCES | errno.EPERM:
            return _owner_words(error)
    return None


def _owner_words(error: OSError) -> str | None:
    """Whose it is, where it is somebody else's: of the nearest directory that can be looked at."""
    path = Path(os.fsdecode(error.filename)).absolute() if isinstance(error.filename, str | bytes) else None
    for place in () if path is None else (path, *path.parents):
        with suppress(OSError):
            owner = place.stat().st_uid
            if owner == os.geteuid():
                return None
            way_out = "; LAUNCH_HOME names a state directory of your own" if _is_of_our_state(error) else ""
            return f"`{place}` belongs to {user_words(owner)}{way_out}"
    return None


def _is_of_our_state(error: OSError) -> bool:
    from runtime.state_dir import state_dir

    return isinstance(error.filename, str | bytes) and Path(os.fsdecode(error.filename)).is_relative_to(state_dir().root)


def user_words(uid: int) -> str:
    """Who *uid* is, to people."""
    try:
        return f"the user `{pwd.getpwuid(uid).pw_name}`"
    except KeyError:
        return f"another user (uid {uid})"


def _leave_stdout() -> None:
    """What it did not take is not offered again when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_stdout_full() -> bool:
    """Whether our output goes to `/dev/full`, or to a file on a full disk that is not that of LAUNCH_HOME."""
    status = os.fstat(1)
    if stat.S_ISCHR(status.st_mode):
        return status.st_rdev == os.makedev(1, 7)
    from runtime.store.failures import is_full

    return stat.S_ISREG(status.st_mode) and not _is_of_our_disk(status) and is_full(os.fstatvfs(1))


def _is_of_our_disk(status: os.stat_result) -> bool:
    from runtime.state_dir import state_dir

    try:
        return status.st_dev == os.stat(state_dir().root).st_dev
    except OSError:
        return False


def _room() -> str:
    """How full the disk of LAUNCH_HOME is, where that is what is full."""
    from runtime.state_dir import state_dir

    root = state_dir().root
    try:
        status = os.statvfs(root)
    except OSError:
        return ""
    from runtime.store.failures import is_full, room_words

    return f"`{root}` is on {room_words(status)}; " if is_full(status) else ""


def _has_lost_its_directory() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False
