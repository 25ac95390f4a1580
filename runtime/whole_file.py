"""A small file that is replaced as a whole: who reads it sees the old content or the new, never a part."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, content: str | bytes, *, mode: int = 0o600) -> None:
    """Let *path*, whose directory exists, have *content* by rename(2). *mode* is that of open(2), which the umask lessens.

    After a power cut it may have the old content; after a full disk (OSError) it has.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with open(os.open(partial, flags, mode), "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.rename(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
