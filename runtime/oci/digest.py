"""Content digests, written as in the image-spec (descriptor.md, "Digests"): `sha256:` and 64 hex digits."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from runtime.errors import BadContent

_FORM = re.compile(r"sha256:[0-9a-f]{64}")


class Digest(str):
    """`sha256:<64 hex>`. Construction checks the form, so a Digest in hand is safe as a path component."""

    __slots__ = ()

    def __new__(cls, text: str) -> Digest:
        if _FORM.fullmatch(text) is None:
            raise BadContent(f"not a sha256 digest: `{text[:80]}`")
        return super().__new__(cls, text)

    @property
    def hex(self) -> str:
        """The 64 hex digits."""
        return self[7:]

    @property
    def short(self) -> str:
        """The first twelve hex digits, for people."""
        return self[7:19]


def digest_bytes(content: bytes) -> Digest:
    return Digest("sha256:" + hashlib.sha256(content).hexdigest())


def digest_chunks(chunks: Iterable[bytes]) -> tuple[Digest, int]:
    """Digest and size of a stream."""
    hasher, size = hashlib.sha256(), 0
    for chunk in chunks:
        hasher.update(chunk)
        size += len(chunk)
    return Digest("sha256:" + hasher.hexdigest()), size


def digest_file(path: Path) -> Digest:
    with path.open("rb") as file:
        return Digest("sha256:" + hashlib.file_digest(file, "sha256").hexdigest())


def canonical_json(document: Any) -> bytes:
    """The one byte form of a JSON document that we hash: sorted keys, no spaces, UTF-8. Surrogates (file names that aren't UTF-8,
    as os.fsdecode gives them) are encoded as json.loads takes them."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode(errors="surrogatepass")


def digest_json(document: Any) -> Digest:
    """Digest of the canonical JSON form of *document*."""
    return digest_bytes(canonical_json(document))
