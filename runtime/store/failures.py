"""A failed system call on the store, in words that say what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from runtime.errors import StoreError

_HINTS = {
    errno.ENOSPC: "the disk is full; `launch gc` frees what no image needs, LAUNCH_HOME moves the store",
    errno.EDQUOT: "the disk quota is used up; `launch gc` frees what no image needs, LAUNCH_HOME moves the store",
    errno.EACCES: "the store belongs to another user; LAUNCH_HOME names one of your own",
    errno.EROFS: "the file system is read-only; LAUNCH_HOME names another place",
}


def store_error(error: OSError, what: str) -> StoreError:
    """*error* as a StoreError, with advice where the errno has a known meaning."""
    return StoreError(f"{what}: {(error.strerror or str(error)).lower()}", hint=_HINTS.get(error.errno or 0))


def is_full(error: OSError) -> bool:
    """Whether there is no room any more."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def store_errors(what: str) -> Iterator[None]:
    """An OSError of the body becomes a StoreError that says *what* could not be done."""
    try:
        yield
    except OSError as error:
        raise store_error(error, what) from error
