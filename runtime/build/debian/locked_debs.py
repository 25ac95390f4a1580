"""The locked .debs of a base: chosen once (`resolver.py`), then taken from the store's blobs, or else from the archive, several
at a time, each checked against its sha256.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from runtime.build.debian.archive_client import ArchiveClient, NotThere, archive_client
from runtime.build.debian.debian_base import BASE_PACKAGES
from runtime.build.debian.index import PackageIndex
from runtime.build.debian.release import fetch_packages
from runtime.build.debian.release_signature import archive_keyrings
from runtime.build.debian.resolver import resolve
from runtime.build.observer import BuildObserver
from runtime.build.plan import DebPackage
from runtime.build.sources import DebianSource
from runtime.errors import BadContent, BuildError
from runtime.http.proxies import redact_url
from runtime.oci.digest import Digest, digest_bytes
from runtime.plurals import counted
from runtime.side_by_side import Stop, side_by_side
from runtime.store.store import Store


def resolve_base(
    suite: str,
    packages: Sequence[str] = BASE_PACKAGES,
    *,
    source: DebianSource,
    architecture: str = "amd64",
    already: Sequence[DebPackage] = (),
    environ: Mapping[str, str] = os.environ,
) -> tuple[DebPackage, ...]:
    """The .debs of a base with *packages*, sorted by name; with *already* (a base's lock) only those that it lacks."""
    index = fetch_index(suite, source=source, architecture=architecture, client=archive_client(environ))
    chosen = resolve(index, packages, already=already, essential=not already)
    return tuple(candidate.package for candidate in chosen)


def fetch_index(suite: str, *, source: DebianSource, architecture: str, client: ArchiveClient) -> PackageIndex:
    """The merged index of all archives of *source*, every part of it checked."""
    if not source.archives:
        raise BuildError(f"no archive is named for Debian suite `{suite}`")
    keyrings = tuple(dict.fromkeys((*source.keyring, *archive_keyrings())))
    # In threads: decompression leaves the interpreter lock, and the small archives wait for the network meanwhile.
    with ThreadPoolExecutor(len(source.archives), thread_name_prefix="debian-index") as pool:
        fetching = {
            name: pool.submit(
                fetch_packages,
                name,
                url,
                suite,
                architecture=architecture,
                client=client,
                keyrings=keyrings,
                cache_dir=source.cache_dir,
            )
            for name, url in source.archives.items()
        }
        texts = [(name, future.result()) for name, future in fetching.items()]
    return PackageIndex(texts, architecture=architecture)


_WORKERS = 6


class LockedDebs:
    """The .debs of a lock: where they are kept, and where they come from."""

    def __init__(self, store: Store, source: DebianSource, *, client: ArchiveClient, observer: BuildObserver) -> None:
        self._store = store
        self._source = source
        self._client = client
        self._observer = observer

    def for_each(self, packages: Iterable[DebPackage], use: Callable[[DebPackage, bytes], None]) -> None:
        """Call *use* with each package and its .deb as they arrive, from several threads; the .debs stay in the store.

        The first failure is raised, once no thread is at work any more.
        """
        # The largest first, so that no thread is left with one at the end.
        ordered = sorted(packages, key=lambda package: (-package.size, package.name))
        missing = [package for package in ordered if not self._store.has_blob(blob_digest(package))]
        progress = _Progress(self._observer, missing)

        def get_and_use(package: DebPackage) -> None:
            use(package, self.content(package, progress=progress.add))

        # Threads do: hashing, decompression and writing leave the interpreter lock.
        side_by_side([partial(get_and_use, package) for package in ordered], at_once=_WORKERS, stop=Stop(), grace_s=None)

    def content(self, package: DebPackage, *, progress: Callable[[int], None] | None = None) -> bytes:
        """The .deb of *package*; it is in the store afterwards."""
        digest = blob_digest(package)
        if self._store.has_blob(digest):
            with self._store.open_blob(digest) as file:
                content = file.read()
            if digest_bytes(content) == digest:
                return content
        base_url = self._source.archives.get(package.archive)
        if base_url is None:
            raise BuildError(
                f"package `{package.name}` is locked from archive `{package.archive}`, for which no address is known",
                hint="add it to apt's sources, or name it as the second address of `image.mirror`",
            )
        url = f"{base_url}/{package.pool_path}"
        try:
            content = self._client.get(url, limit=package.size, progress=progress)
        except NotThere as error:
            raise BuildError(
                f"the archive no longer has `{package.name}` `{package.version}`: {error.message}",
                hint="archives drop a version when the next is out: lock the base anew, or use a mirror that keeps old versions",
            ) from error
        if digest_bytes(content) != digest:
            raise BadContent(
                f"`{redact_url(url)}` does not have the sha256 that was locked for `{package.name}` `{package.version}`"
            )
        self._store.put_blob((content,), expected=digest)
        return content


def blob_digest(package: DebPackage) -> Digest:
    """The store's name for the .deb."""
    return Digest(f"sha256:{package.sha256}")


class _Progress:
    """Sums what all threads have fetched."""

    def __init__(self, observer: BuildObserver, missing: Sequence[DebPackage]) -> None:
        self._observer = observer
        self._total = sum(package.size for package in missing)
        self._label = counted(len(missing), "Debian package")
        self._done = 0
        self._lock = threading.Lock()

    def add(self, size: int) -> None:
        with self._lock:
            self._done += size
            self._observer.download(self._label, self._done, self._total)
