"""Answer what a seccomp filter leaves to its listener (seccomp_unotify(2)): one question, one answer.

The caller waits in its system call meanwhile. It may be killed while we look at it; then its number may be another's, so
whatever was read of it counts only if `is_waiting` says so afterwards.
"""

from __future__ import annotations

import errno
import fcntl
import struct

from runtime.light_dataclasses import dataclass

_RECEIVE = 0xC0502100  # SECCOMP_IOCTL_NOTIF_RECV
_SEND = 0xC0182101  # SECCOMP_IOCTL_NOTIF_SEND
_ID_VALID = 0x40082102  # SECCOMP_IOCTL_NOTIF_ID_VALID

# struct seccomp_notif: id, pid, flags, then struct seccomp_data: nr, arch, instruction_pointer, args[6].
_QUESTION = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=QqiI")


@dataclass(frozen=True, slots=True)
class Question:
    """A system call that waits for its answer."""

    id: int
    pid: int
    """As the listener's process sees it."""
    number: int
    arguments: tuple[int, ...]


def receive(listener: int) -> Question | None:
    """The next question; None when the one that made *listener* readable is gone."""
    buffer = bytearray(_QUESTION.size)  # the kernel wants zeros
    try:
        fcntl.ioctl(listener, _RECEIVE, buffer)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINTR):
            return None
        raise
    identity, pid, _flags, number, _arch, _pointer, *arguments = _QUESTION.unpack(buffer)
    return Question(identity, pid, number, tuple(arguments))


def is_waiting(listener: int, question: Question) -> bool:
    """Whether the caller still waits for the answer to *question*."""
    try:
        fcntl.ioctl(listener, _ID_VALID, struct.pack("=Q", question.id))
    except OSError:
        return False
    return True


def answer(listener: int, question: Question, error_number: int = 0) -> None:
    """Let the call succeed with 0, or fail with *error_number*. A caller that is gone is no failure."""
    try:
        fcntl.ioctl(listener, _SEND, _ANSWER.pack(question.id, 0, -error_number, 0))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
