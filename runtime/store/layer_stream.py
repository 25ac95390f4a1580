"""The tar stream of any layer of a store, with exactly the layer's diff_id."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from runtime.errors import StoreError
from runtime.oci.digest import Digest
from runtime.store.layer_on_disk import layer_stream
from runtime.store.records import Layer
from runtime.store.store import Store


def layer_chunks(store: Store, layer: Layer | Digest) -> Iterator[bytes]:
    """The uncompressed tar stream of *layer*. Raises StoreError when its content has changed, at the latest at the end: who
    sends the stream on must not call it complete before."""
    diff_id = layer.diff_id if isinstance(layer, Layer) else layer
    return checked(layer_stream(store.layer_dir(diff_id).parent), diff_id)


def checked(stream: Iterable[bytes], digest: Digest) -> Iterator[bytes]:
    """*stream*; raises StoreError behind its last piece when it doesn't have *digest*."""
    hasher = hashlib.sha256()
    for chunk in stream:
        hasher.update(chunk)
        yield chunk
    if hasher.hexdigest() != digest.hex:
        raise StoreError(
            f"layer `{digest.short}` is damaged: its stream has digest `sha256:{hasher.hexdigest()}`",
            hint="`launch store check` finds and removes damaged layers; they are built again when needed",
        )
