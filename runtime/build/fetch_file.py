"""A file from an address, by its digest (ADD --checksum): fetched once, kept as a blob of the store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from runtime.build.debian.archive_client import NotThere, archive_client
from runtime.build.observer import BuildObserver
from runtime.build.plan import FetchedFile
from runtime.errors import BadContent, NetworkError
from runtime.http.proxies import shown
from runtime.oci.digest import digest_json
from runtime.store.store import Store


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
            store.put_blob(_watched(client.chunks(file.url), file.name, observer), expected=file.digest)
            return
        except BadContent as error:
            raise BadContent(
                f"`{shown(file.url)}` is not what the checksum says: {error.message}",
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


def _watched(chunks: Iterator[bytes], label: str, observer: BuildObserver) -> Iterator[bytes]:
    done = 0
    for chunk in chunks:
        done += len(chunk)
        observer.download(label, done, None)
        yield chunk
    observer.download(label, done, done)
