"""Failures that a user can cause: shown once, without a traceback, and turned into the exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from launcher.errors import LaunchError
from runtime.errors import RuntimeFailure

_MACHINE_ERRORS = (
    *(errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ELOOP, errno.EMFILE, errno.ENAMETOOLONG, errno.ENFILE),
    *(errno.ENOMEM, errno.ENOSPC, errno.ENOTDIR, errno.EPERM, errno.EROFS),
)
"""What the machine refuses, and no bug of ours."""


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
        ending.code = _show(error, 125, debug=debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        ending.code = 141
    except KeyboardInterrupt:
        ending.code = 130
    except OSError as error:
        ending.code = _show_os_error(error, debug=debug)


def _show(error: LaunchError | RuntimeFailure, exit_code: int, *, debug: bool) -> int:
    from launcher.cli.render import print_error

    if debug:
        import traceback

        traceback.print_exception(error)
    print_error(error.message, hint=error.hint, origin=getattr(error, "origin", None), notes=getattr(error, "__notes__", ()))
    return exit_code


def _show_os_error(error: OSError, *, debug: bool) -> int:
    """The machine refused something we did not foresee: full disk, permission, a name that is too long."""
    from launcher.cli.render import print_error

    if debug:
        raise error
    if _has_lost_its_directory():
        print_error("the current directory does not exist any more", hint="`cd` to one that does", origin=None)
        return 2
    if error.errno not in _MACHINE_ERRORS:
        raise error
    hint = {
        errno.ENOSPC: f"{_room()}`launch gc` frees what no image needs, LAUNCH_HOME moves everything to another disk",
        errno.EDQUOT: "your disk quota is used up; `launch gc` frees what no image needs",
    }
    print_error(str(error), hint=hint.get(error.errno or 0), origin=None, notes=getattr(error, "__notes__", ()))
    return 125


def _room() -> str:
    """How full the disk of LAUNCH_HOME is, where that is what is full."""
    from runtime.state_dir import state_dir

    root = state_dir().root
    try:
        status = os.statvfs(root)
    except OSError:
        return ""
    free, total = (count * status.f_frsize / 1e6 for count in (status.f_bavail, status.f_blocks))
    return f"the disk of `{root}` has {free:.0f} MB free of {total:.0f} MB; " if free * 100 < total else ""


def _has_lost_its_directory() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False
