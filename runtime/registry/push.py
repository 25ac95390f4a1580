"""An image into a registry: only what the registry lacks is sent, the manifest last.

For each layer the first of these that works: the repository has a blob that is known to be the layer; another repository of the
registry has one, and lends it (a mount); the layer is compressed into a file without a name and its digest turns out to be there;
the blob is uploaded. Layers go side by side. What a blob was is remembered (`known_places.py`), so nothing is compressed twice.

The manifest names compressed layers, therefore its digest is another one than the image's; it is kept beside the image.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from functools import partial
from typing import Protocol

from runtime.errors import BadContent
from runtime.http.client import Patience
from runtime.light_dataclasses import dataclass
from runtime.oci.digest import Digest, canonical_json, digest_bytes
from runtime.oci.image_documents import CONFIG, MANIFEST, Descriptor, Manifest
from runtime.oci.reference import Remote
from runtime.plurals import first_few
from runtime.registry.blob_upload import Uploads
from runtime.registry.client import Registry
from runtime.registry.compress import Compression, Compressor
from runtime.registry.configuration import registries_configuration
from runtime.registry.known_places import record_push
from runtime.registry.layer_push import How, LayerPush, PushedLayer, Target
from runtime.side_by_side import Stop, side_by_side
from runtime.store.image_blobs import config_bytes, manifest_layer_digest
from runtime.store.records import Image
from runtime.store.store import Store

AT_ONCE = 6
"""Layers on their way. More would help against a far registry, and cost a spool file and a connection each."""


class PushObserver(Protocol):
    """Told what goes on; called from several threads."""

    def layer_pushed(self, label: str, layer: PushedLayer) -> None: ...
    def sending(self, label: str, sent_bytes: int, size_bytes: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Pushed:
    """An image in a registry."""

    reference: Remote
    """With tag and digest."""
    digest: Digest
    """Of the manifest there."""
    layers: tuple[PushedLayer, ...]
    """As in the manifest, bottom first."""
    sent_bytes: int
    """Of blobs; manifest and requests are not counted."""
    is_new: bool
    """Whether the tag led somewhere else before, or nowhere."""
    seconds: float


def push_image(
    image: Image,
    store: Store,
    target: Remote,
    *,
    compression: Compression | None = None,
    observer: PushObserver,
    environ: Mapping[str, str] = os.environ,
    patience: Patience | None = None,
) -> Pushed:
    """Push *image* to *target*, under its tag.

    *compression* None: a layer that the registry has in any form is taken as it is, others become gzip. A given one holds for
    every layer. Raises NetworkError, and StoreError when a layer doesn't have its digest any more.
    """
    begun = time.perf_counter()
    if target.tag is None or target.digest is not None:
        raise BadContent("an image is pushed under a tag, not under a digest", hint="the form is `[HOST/]NAME[:TAG]`")
    endpoint = registries_configuration(environ).endpoint(target.registry, target.repository)
    registry = Registry(endpoint.host, environ=environ, insecure=endpoint.insecure or None, patience=patience)
    held = store.hold(image)
    try:
        with Compressor() as compressor:
            stop = Stop()
            uploads = Uploads(registry, endpoint.repository, stop=stop)
            to = Target(registry, endpoint.repository, store, compressor, compression, uploads, stop)
            layers, config, sent = _push_blobs(image, to, observer)
        annotations = image.manifest.get("annotations") or {}
        content = canonical_json(Manifest(config, tuple(layer.descriptor for layer in layers), annotations).to_json())
        digest = digest_bytes(content)
        is_new = registry.manifest_digest(endpoint.repository, target.tag) != digest
        if is_new:
            registry.put_manifest(endpoint.repository, target.tag, MANIFEST, content)
    finally:
        registry.close()
        del held
    record_push(image, store, target, digest, json.loads(content))
    reference = Remote(target.registry, target.repository, target.tag, digest)
    return Pushed(reference, digest, layers, sent, is_new, time.perf_counter() - begun)


def _push_blobs(image: Image, to: Target, observer: PushObserver) -> tuple[tuple[PushedLayer, ...], Descriptor, int]:
    """Layers and configuration into the repository; what the manifest says of them, and how much was sent."""
    first: dict[Digest, int] = {}
    for which in range(len(image.groups)):
        first.setdefault(manifest_layer_digest(image, which), which)
    # The largest first: a large one that is begun last is what everybody waits for.
    sizes = [sum(image.layers[position].size_bytes for position in group) for group in image.groups]
    order = sorted(first.values(), key=sizes.__getitem__, reverse=True)
    jobs = [partial(_push_layer, image, which, to, observer) for which in order]
    results = side_by_side(jobs, at_once=AT_ONCE, stop=to.stop)
    pushed = {layer.diff_id: layer for layer in results}
    config, config_sent = to.push_document(config_bytes(to.store, image), CONFIG)
    layers = tuple(pushed[manifest_layer_digest(image, which)] for which in range(len(image.groups)))
    return layers, config, config_sent + sum(layer.descriptor.size for layer in results if layer.how is How.SENT)


def _push_layer(image: Image, which: int, to: Target, observer: PushObserver) -> PushedLayer:
    label = manifest_layer_label(image, which)
    layer = LayerPush(image, which, to, sending=partial(observer.sending, label)).run()
    observer.layer_pushed(label, layer)
    return layer


def manifest_layer_label(image: Image, which: int) -> str:
    """For people: what the *which*-th layer of the manifest is made of."""
    return first_few([image.layers[position].label for position in image.groups[which]], most=1)
