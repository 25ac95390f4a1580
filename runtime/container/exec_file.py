"""Exec of a file that a container names, in a directory that it names, such that no link of /proc can make either the host's
(CVE-2019-5736, CVE-2024-21626).

Until the exec, /proc/self/exe of the calling process is the host's Python. `/proc/self/exe` as the program, or behind `#!`, would
run *that* in the container, and where the container's root is its caller on disk it could open it for writing. The kernel's own
look-up of a program and of a script's interpreter can't be told to refuse such links, so both are looked up here. What is found
is executed through a close-on-exec descriptor: then the kernel reads no `#!`, whatever the file says by then.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence

from runtime.kernel import libc
from runtime.kernel.safe_open import RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS
from runtime.light_typing import NamedTuple, NoReturn

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_OWN_FILE = "/proc/self/exe"
_MOST_INTERPRETERS = 5
_FIRST_LINE = 256  # BINPRM_BUF_SIZE
_BLANK = b" \t"
_AT_SYMLINK_NOFOLLOW = 0x100
_NO_LINKS = RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS


class OpenedProgram(NamedTuple):
    """A program that was found; its descriptors are close-on-exec and stay open until then."""

    file: int
    argv: tuple[bytes, ...]

    def execute(self, env: Mapping[str, str]) -> NoReturn:
        """Become it. Makes no call but execveat(2), whatever filter there is by now, when /proc isn't there."""
        variables = [os.fsencode(f"{name}={value}") for name, value in env.items()]
        try:
            directory, name = os.path.split(os.fsencode(os.readlink(f"/proc/self/fd/{self.file}")))
            place = libc.openat2(libc.AT_FDCWD, directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, resolve=_NO_LINKS)
        except OSError:
            libc.execveat(self.file, b"", self.argv, variables, libc.AT_EMPTY_PATH)
        # By directory and name, since before Linux 6.14 what is executed as a bare descriptor is called by its number (comm).
        # Nothing is trusted of what the name stands for by now, but that it is no link.
        libc.execveat(place, name, self.argv, variables, _AT_SYMLINK_NOFOLLOW)


def open_program(path: str, argv: Sequence[str]) -> OpenedProgram:
    """Find the program at *path*, and its interpreter. Raises OSError as execve(2) does, with ELOOP for what leads through a link
    of /proc."""
    program, words = os.fsencode(path), [os.fsencode(word) for word in argv]
    for _ in range(_MOST_INTERPRETERS):
        file = _open_file(program)
        line = _first_line(file)
        if line is None:
            return OpenedProgram(file, tuple(words))
        os.close(file)
        if not os.access(program, os.X_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, "not executable")
        interpreter, argument = _interpreter(line)
        words = [interpreter, *([argument] if argument else []), program, *words[1:]]
        program = interpreter
    raise OSError(errno.ELOOP, "too many interpreters")


def candidates(name: str, path: str | None, *, cwd: str = "") -> list[str]:
    """Where the program *name* may be: with a slash there, from *cwd* on; else at each place of *path* (None: a default)."""
    if "/" in name:
        return [os.path.join(cwd, name)]
    return [os.path.join(place or ".", name) for place in (DEFAULT_PATH if path is None else path).split(":")]


def enter_directory(path: str) -> None:
    """Make *path* the working directory. Raises OSError, with ELOOP for what leads through a link of /proc, which may lead to a
    directory of the host (CVE-2024-21626). The kernel refuses beforehand; afterwards it could only be noticed."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    directory = libc.openat2(libc.AT_FDCWD, path, flags, resolve=RESOLVE_NO_MAGICLINKS)
    try:
        os.fchdir(directory)
    finally:
        os.close(directory)


def exec_file(path: str, argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Become the program at *path*: `open_program` and `OpenedProgram.execute`."""
    open_program(path, argv).execute(env)


def own_file_is_at_stake() -> bool:
    """Whether a container that gets hold of the file that this process runs could write to it: its root may be our own user."""
    try:
        if os.statvfs(_OWN_FILE).f_flag & os.ST_RDONLY:
            return False
        return os.stat(_OWN_FILE).st_uid == os.geteuid() or os.access(_OWN_FILE, os.W_OK, effective_ids=True)
    except OSError:  # no /proc
        return True


def _open_file(path: bytes) -> int:
    flags = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        return libc.openat2(libc.AT_FDCWD, path, os.O_RDONLY | flags, resolve=RESOLVE_NO_MAGICLINKS)
    except PermissionError:
        # A program may be executable without being readable; a script may not.
        return libc.openat2(libc.AT_FDCWD, path, os.O_PATH | os.O_CLOEXEC, resolve=RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise OSError(errno.ELOOP, f"`{os.fsdecode(path)}` is a link without an end, or one of /proc") from error


def _first_line(file: int) -> bytes | None:
    """What stands behind `#!`; None for everything but a script."""
    try:
        head = os.read(file, _FIRST_LINE)
    except OSError:
        return None  # a directory, a device, not readable: the kernel says what is wrong with it
    if not head.startswith(b"#!"):
        return None
    line, newline, _rest = head[2:].partition(b"\n")
    if newline or len(head) < _FIRST_LINE:
        return line
    if not any(blank in line.lstrip(_BLANK) for blank in (b" ", b"\t")):
        raise OSError(errno.ENOEXEC, "the name of the interpreter is cut off")
    return line[:-1]  # as the kernel cuts an argument off


def _interpreter(line: bytes) -> tuple[bytes, bytes]:
    """Its name and its one argument, as binfmt_script reads them."""
    words = line.partition(b"\0")[0].strip(_BLANK)
    name = words.replace(b"\t", b" ").partition(b" ")[0]
    if not name:
        raise OSError(errno.ENOEXEC, "no interpreter behind `#!`")
    return name, words[len(name) :].strip(_BLANK)
