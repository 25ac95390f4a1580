"""A small file that is replaced as a whole: who reads it sees the old content or the new, never a part."""

from __future__ import annotations

import os
from _thread import get_native_id  # `threading` is not needed for it, and a launch is short
from collections.abc import Iterable
from pathlib import Path


def replace_file(path: Path, content: str | bytes | Iterable[bytes], *, mode: int = 0o600) -> None:
    """Let *path*, whose directory exists, have *content* (or the pieces of it) by rename(2). *mode* is that of open(2), which the
    umask lessens. Of several who do so at once, in threads or processes, one is the last.

    After a power cut it may have the old content; after a full disk (OSError) it has.
    """
    partial = path.with_name(f".{path.name}.{get_native_id()}")
    whole = content.encode() if isinstance(content, str) else content
    pieces = (whole,) if isinstance(whole, bytes) else whole
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with open(os.open(partial, flags, mode), "wb") as file:
            file.writelines(pieces)
        os.rename(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
