"""Blobs: bytes under their digest, `blobs/sha256/<hex>`, published by rename and never edited."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from runtime.errors import BadContent
from runtime.oci.digest import Digest
from runtime.store.failures import store_error
from runtime.store.staging import partial_file


def write_atomically(path: Path, content: bytes, *, tmp: Path, sync: bool = False) -> None:
    """Publish *content* as *path* by rename: a reader sees the old content or the new, never a part. After a power cut that comes
    within seconds it may be empty, unless *sync*: then it is on the disk when this returns."""
    try:
        with partial_file(tmp, mode=0o644) as (file, partial):
            file.write(content)
            file.flush()
            if sync:
                os.fsync(file.fileno())
            os.rename(partial, path)
    except OSError as error:
        raise store_error(error, f"cannot write `{path}`") from error


def put_blob(blobs: Path, chunks: Iterable[bytes], *, tmp: Path, expected: Digest | None = None) -> tuple[Digest, int]:
    """Store *chunks*; (digest, size). Idempotent: returning means the content *is* stored, not that this call stored it.

    Raises BadContent when the content doesn't have the *expected* digest; then nothing is stored.
    """
    hasher = hashlib.sha256()
    size = 0
    try:
        with partial_file(tmp, mode=0o600) as (file, partial):
            for chunk in chunks:
                hasher.update(chunk)
                size += len(chunk)
                file.write(chunk)
            digest = Digest(f"sha256:{hasher.hexdigest()}")
            if expected is not None and digest != expected:
                raise BadContent(f"content has digest `{digest}`, not `{expected}`")
            os.fchmod(file.fileno(), 0o444)
            file.flush()
            os.fsync(file.fileno())
            os.rename(partial, blobs / digest.hex)
    except OSError as error:
        raise store_error(error, f"cannot store a blob in `{blobs}`") from error
    return digest, size


def open_blob(blobs: Path, digest: Digest) -> BinaryIO:
    """Blob *digest*, opened for reading: that is a use of it. Raises StoreError when it isn't there."""
    path = blobs / digest.hex
    with suppress(OSError):  # a store on a read-only file system is used all the same
        os.utime(path)
    try:
        return open(path, "rb")
    except OSError as error:
        raise store_error(error, f"cannot read blob `{digest}`") from error
