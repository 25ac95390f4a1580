"""Pin a Debian base: a suite and package names become .debs with versions and hashes. Asks the archive; unpacks nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from runtime.build.debian.archive_client import ArchiveClient, archive_client
from runtime.build.debian.debian_base import BASE_PACKAGES, interpreter_of
from runtime.build.debian.index import PackageIndex
from runtime.build.debian.release import fetch_packages
from runtime.build.debian.release_signature import archive_keyrings
from runtime.build.debian.resolver import resolve
from runtime.build.plan import DebPackage
from runtime.build.sources import DebianSource
from runtime.errors import BuildError

__all__ = ["BASE_PACKAGES", "fetch_index", "interpreter_of", "resolve_base"]


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
