"""What ADD brings that COPY does not: a file from an address (`ADD --checksum`), and archives, which it unpacks.

A file is an archive when its first header is, as BuildKit decides (solver/llbsolver/file/unpack.go); its name means nothing. It
is unpacked with the care that layers get (`runtime.layer.extract`). What was fetched is kept as a blob of the store.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from runtime.build.debian.archive_client import NotThere, archive_client
from runtime.build.observer import BuildObserver
from runtime.build.plan import FetchedFile
from runtime.errors import BadContent, NetworkError
from runtime.http.proxies import redact_url
from runtime.layer.compression import ByteStream, decompress_archive
from runtime.layer.extract import extract, failures_of
from runtime.layer.tree import Tree
from runtime.oci.digest import digest_json
from runtime.store.store import Store

_BLOCK = 512
_CHECKSUM = slice(148, 156)


def fetch_file(file: FetchedFile, *, store: Store, observer: BuildObserver) -> Path:
    """The blob with the content of *file*. Raises BadContent when the address has something else by now."""
    if not store.has_blob(file.digest):
        with store.lock([digest_json({"kind": "fetched", "digest": file.digest})]):
            if not store.has_blob(file.digest):
                _fetch(file, store, observer)
    return store.blob_path(file.digest)


def _fetch(file: FetchedFile, store: Store, observer: BuildObserver) -> None:
    client = archive_client()
    attempt = 0
    while True:
        try:
            store.put_blob(_report_progress(client.chunks(file.url), file.name, observer), expected=file.digest)
            return
        except BadContent as error:
            raise BadContent(
                f"`{redact_url(file.url)}` is not what the checksum says: {error.message}",
                hint="the file at that address has changed, or the checksum is another one's",
            ) from error
        except NotThere:
            raise
        except NetworkError:
            pause = client.patience.pause_s(attempt)
            if pause is None:
                raise
        time.sleep(pause)
        attempt += 1


def _report_progress(chunks: Iterator[bytes], label: str, observer: BuildObserver) -> Iterator[bytes]:
    done = 0
    for chunk in chunks:
        done += len(chunk)
        observer.download(label, done, None)
        yield chunk
    observer.download(label, done, done)


def unpack_archive(location: Path, directory: Path, *, name: str) -> Tree | None:
    """Unpack *location* into the empty *directory*; None: it is no archive. Raises BadContent for a damaged one, with *name*."""
    with failures_of(name), open(os.open(location, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        try:
            is_archive = _is_header(_block(decompress_archive(file)))
        except BadContent:
            return None
        if not is_archive:
            return None
        file.seek(0)
        return extract(decompress_archive(file), directory)


def _block(stream: ByteStream) -> bytes:
    block = b""
    while len(block) < _BLOCK and (more := stream.read(_BLOCK - len(block))):
        block += more
    return block


def _is_header(block: bytes) -> bool:
    """Whether a tar header has the checksum that it says (POSIX.1-1988, "ustar"); old writers summed signed bytes."""
    if len(block) < _BLOCK or not block.strip(b"\0"):
        return False
    digits = block[_CHECKSUM].strip(b" \0")
    try:
        said = int(digits, 8)
    except ValueError:
        return False
    blanked = block[:148] + b" " * 8 + block[156:]
    return said in (sum(blanked), sum(byte - 256 if byte > 127 else byte for byte in blanked))
