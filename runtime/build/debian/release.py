"""The signed index of an archive: `InRelease` names the hash of every `Packages` file; both are checked before anything is read.

The chain: a key of the keyring → InRelease → sha256 of Packages.xz → sha256 of each .deb. Against replays count the
suite's own name in InRelease and its Valid-Until. Format: the Debian wiki, "DebianRepository/Format".
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from runtime.build.debian.archive_client import ArchiveClient, NotThere
from runtime.build.debian.index import parse_stanza
from runtime.build.debian.release_signature import verify_signature
from runtime.errors import BadContent, BuildError, NotAvailable
from runtime.http.proxies import redact_url
from runtime.light_dataclasses import dataclass
from runtime.whole_file import replace_file

_RELEASE_LIMIT = 8 << 20
_PACKAGES_LIMIT = 512 << 20
_SUITE_SUFFIX = {"main": "", "updates": "-updates", "security": "-security"}


@dataclass(frozen=True, slots=True)
class Release:
    """A checked InRelease."""

    url: str
    """Of the directory that it lies in."""
    fields: dict[str, str]
    files: dict[str, tuple[str, int]]
    """Path below the directory → (sha256, size)."""

    @property
    def by_hash(self) -> bool:
        return self.fields.get("Acquire-By-Hash") == "yes"


def fetch_packages(
    archive: str,
    base_url: str,
    suite: str,
    *,
    architecture: str,
    client: ArchiveClient,
    keyrings: Sequence[Path],
    cache_dir: Path,
    now: datetime | None = None,
) -> bytes:
    """Text of the `Packages` file of section `main` in *archive* (`main`, `updates` or `security`), checked."""
    release = fetch_release(
        base_url, suite + _SUITE_SUFFIX[archive], client=client, keyrings=keyrings, now=now or datetime.now(UTC)
    )
    plain_path = f"main/binary-{architecture}/Packages"
    for suffix in (".xz", ".gz", ""):
        path = plain_path + suffix
        if path not in release.files:
            continue
        cached = cache_dir / f"{suite}-{archive}-{architecture}-{release.files[path][0]}{suffix}"
        packed = _fetch_checked(release, path, client=client, cached=cached)
        text = _decompress(packed, suffix, limit=release.files.get(plain_path, ("", _PACKAGES_LIMIT))[1], origin=release.url)
        if plain_path in release.files and len(text) != release.files[plain_path][1]:
            raise BadContent(f"`{redact_url(release.url)}/{path}` unpacks to a size that its index does not name")
        return text
    raise BuildError(f"the archive at `{redact_url(release.url)}` has no packages for `{architecture}`")


def fetch_release(base_url: str, suite: str, *, client: ArchiveClient, keyrings: Sequence[Path], now: datetime) -> Release:
    """The InRelease of *suite* below *base_url*: signed by a key of *keyrings*, of that suite, and not expired at *now*."""
    url = f"{base_url}/dists/{suite}"
    try:
        message = client.get(f"{url}/InRelease", limit=_RELEASE_LIMIT)
    except NotThere as error:
        raise NotAvailable(
            f"the archive at `{redact_url(base_url)}` has no suite `{suite}`: {error.message}",
            hint="the address must be the directory that holds `dists/` and `pool/`; "
            "a mirror without a security archive is written `ADDRESS none`",
        ) from error
    text = verify_signature(message, keyrings=keyrings, origin=redact_url(f"{url}/InRelease"))
    release = parse_release(text.decode("utf-8", "replace"), url=url)
    _check_suite(release, suite)
    check_age(release, now)
    return release


def parse_release(text: str, *, url: str) -> Release:
    """Fields and file hashes of the signed text."""
    fields = parse_stanza(text)
    files: dict[str, tuple[str, int]] = {}
    for line in fields.get("SHA256", "").splitlines():
        words = line.split()
        if len(words) == 3 and re.fullmatch(r"[0-9a-f]{64}", words[0]) and re.fullmatch(r"[0-9]{1,18}", words[1]):
            files[words[2]] = (words[0], int(words[1]))
    if not files:
        raise BadContent(f"`{redact_url(url)}/InRelease` names no files by sha256")
    return Release(url, fields, files)


def _check_suite(release: Release, suite: str) -> None:
    named = (release.fields.get("Codename", ""), release.fields.get("Suite", ""))
    if suite not in named:
        raise BadContent(f"`{redact_url(release.url)}/InRelease` is that of suite `{named[0]}` (`{named[1]}`), not of `{suite}`")


def check_age(release: Release, now: datetime) -> None:
    until = release.fields.get("Valid-Until")
    if until is None:
        return
    try:
        expires = datetime.strptime(until.replace("UTC", "").strip(), "%a, %d %b %Y %H:%M:%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise BadContent(f"`{redact_url(release.url)}/InRelease` has a Valid-Until that is no date: `{until}`") from error
    if expires < now:
        raise BadContent(
            f"`{redact_url(release.url)}/InRelease` expired on {expires:%Y-%m-%d %H:%M} UTC",
            hint=f"the mirror is no longer updated, an old index is replayed, or this clock is wrong: {now:%Y-%m-%d %H:%M} UTC",
        )


def _fetch_checked(release: Release, path: str, *, client: ArchiveClient, cached: Path) -> bytes:
    """File *path* of *release* with the hash that it names; from *cached* when it is there and good."""
    sha256, size = release.files[path]
    if size > _PACKAGES_LIMIT:
        raise BadContent(f"`{redact_url(release.url)}/{path}` claims to be {size} bytes large")
    try:
        content = cached.read_bytes()
    except OSError:
        content = b""
    if hashlib.sha256(content).hexdigest() == sha256:
        return content
    content = _fetch(release, path, client=client)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise BadContent(
            f"`{redact_url(release.url)}/{path}` does not have the sha256 that the signed index names",
            hint="a proxy may hold an old copy, or the mirror is being updated: try again in a few minutes",
        )
    _keep(cached, content)
    return content


def _fetch(release: Release, path: str, *, client: ArchiveClient) -> bytes:
    sha256, size = release.files[path]
    if release.by_hash:
        # By hash it cannot change between the index and now, however often the archive is updated.
        by_hash = f"{release.url}/{os.path.dirname(path)}/by-hash/SHA256/{sha256}"
        try:
            return client.get(by_hash, limit=size)
        except NotThere:
            pass  # partial mirrors leave by-hash out
    return client.get(f"{release.url}/{path}", limit=size)


def _keep(cached: Path, content: bytes) -> None:
    """Remember *content*, and forget what was remembered for the same archive before. A cache that can't be written is none."""
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        replace_file(cached, content, mode=0o666)
        prefix = cached.name.rpartition("-")[0]
        for old in cached.parent.glob(f"{prefix}-*"):
            if old != cached:
                old.unlink(missing_ok=True)
    except OSError:
        return


def _decompress(packed: bytes, suffix: str, *, limit: int, origin: str) -> bytes:
    import lzma
    import zlib

    try:
        if suffix == ".xz":
            return lzma.LZMADecompressor().decompress(packed, max_length=limit)
        if suffix == ".gz":
            return zlib.decompressobj(wbits=31).decompress(packed, limit)
    except (lzma.LZMAError, zlib.error) as error:
        raise BadContent(f"the package index of `{redact_url(origin)}` is damaged: {error}") from error
    return packed
