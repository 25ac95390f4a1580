"""Apply an ImportImage step: layers of an image from files or a registry become layers of the store, each unpacked once.

Layers are taken side by side, and each is fetched, decompressed, hashed and unpacked in one pass. An imported layer keeps its
mtimes, since bytecode that came with it is bound to them, and its diff_id: the record of its stream lies beside it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

from runtime.build.cache_key import IMPORT_VERSION, key_fields, step_key
from runtime.build.images.image_source import open_image
from runtime.build.observer import BuildObserver
from runtime.build.plan import ImportImage
from runtime.errors import BadContent, BuildError
from runtime.layer.compression import ByteStream, decompress
from runtime.layer.extract import extract_recorded, failures_of
from runtime.oci.digest import Digest, digest_json
from runtime.oci.image_documents import ImageContents, ImageSource
from runtime.oci.reference import Remote, parse_reference
from runtime.side_by_side import Stop, side_by_side
from runtime.store.failures import store_errors
from runtime.store.layer_files import settle_new_file
from runtime.store.layer_on_disk import STREAM
from runtime.store.publish import publish_unpacked
from runtime.store.records import Layer
from runtime.store.store import Store

_WORKERS = 4


def apply_import_image(
    step: ImportImage, *, store: Store, observer: BuildObserver, architecture: str = "amd64"
) -> tuple[Layer, ...]:
    """The layers of *step*, bottom first. Raises BuildError when the image isn't the one that was planned."""
    with open_image(step.reference, architecture=architecture, progress=observer.download) as source:
        if source.contents.manifest_digest != step.manifest_digest:
            raise BuildError(
                f"`{step.reference}` has changed: it is `{source.contents.manifest_digest}` now, not `{step.manifest_digest}`",
                hint="plan again",
            )
        if not source.contents.diff_ids:
            raise BadContent(f"`{step.reference}` has no layers")
        layers = import_layers(source, store, what=step.reference, done=lambda text: observer.output(step, text))
        remember_places(step.reference, source.contents, store)
    return remember_import(step, source.contents, layers, store)


def import_layers(source: ImageSource, store: Store, *, what: str, done: Callable[[str], None]) -> tuple[Layer, ...]:
    """The layers of *source*, bottom first, in the store. *what* messages call the image; *done* is told of each layer."""
    diff_ids = source.contents.diff_ids
    stop = Stop()
    finished = itertools.count(1)

    def import_one(position: int) -> Layer:
        layer = _import_layer(source, position, diff_ids[position], store, what, stop)
        done(f"layer {next(finished)} of {len(diff_ids)}")
        return layer

    jobs = [partial(import_one, position) for position in range(len(diff_ids))]
    return tuple(side_by_side(jobs, at_once=_WORKERS, stop=stop, grace_s=None))


def remember_import(step: ImportImage, contents: ImageContents, layers: tuple[Layer, ...], store: Store) -> tuple[Layer, ...]:
    """Let the step's key lead to all of its *layers*: the image is not needed again."""
    key = step_key(step, None)
    fields = key_fields(step, None) | {"layers": [layer.key for layer in layers], "config": contents.config}
    store.remember_key(key, layers[-1], fields=fields)
    return layers


def remember_places(reference: str, contents: ImageContents, store: Store) -> None:
    """Note under which blobs a registry has the layers: a push there needs to send none of them."""
    parsed = parse_reference(reference)
    if not isinstance(parsed, Remote):
        return
    from runtime.registry.known_places import remember_blob

    for diff_id, descriptor in zip(contents.diff_ids, contents.blobs, strict=True):
        remember_blob(store, diff_id, descriptor, registry=parsed.registry, repository=parsed.repository)


def imported_layer_key(diff_id: Digest) -> Digest:
    """The cache key of a layer that came with *diff_id*; images that share a layer share it here."""
    return digest_json({"kind": "imported-layer", "version": IMPORT_VERSION, "diff_id": diff_id})


def _import_layer(source: ImageSource, position: int, diff_id: Digest, store: Store, what: str, stop: Stop) -> Layer:
    key = imported_layer_key(diff_id)
    label = f"imported layer {position + 1} ({diff_id.short})"
    named = f"layer {position + 1} of `{what}`"
    with store.lock([key]):
        known = store.find(key)
        if known is not None:
            return known
        with store.staging() as staging, store_errors(f"cannot unpack {named}"):
            root = staging / "root"
            root.mkdir()
            with source.layer(position) as file:
                until = _UntilStopped(decompress(file), stop)
                with failures_of(named):
                    extracted = extract_recorded(until, root, staging / STREAM, diff_id=diff_id, file_done=settle_new_file)
            # Only now: the end of the `with` says whether the packed layer was what the manifest names, too.
            return store.remember_key(key, publish_unpacked(store.root, key, staging, extracted, label=label))


class _UntilStopped:
    """A stream that ends with an error once another layer has failed."""

    def __init__(self, stream: ByteStream, stop: Stop) -> None:
        self._stream = stream
        self._stop = stop

    def read(self, size: int, /) -> bytes:
        self._stop.check()
        return self._stream.read(size)
