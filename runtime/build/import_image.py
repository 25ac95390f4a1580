"""An image from outside becomes an image of the store as it is: its layers with their diff_ids, its configuration byte for byte.

The manifest is made here, over uncompressed layers: how they were packed is nothing that an image in the store knows. So the
image's digest is a function of configuration and layers, wherever they came from, and Docker's ID of it stays what it was.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from runtime.build.apply_import_image import import_layers, remember_import, remember_places
from runtime.build.image_source import open_image
from runtime.build.observer import BuildObserver
from runtime.build.plan import ImportImage
from runtime.errors import BadContent
from runtime.oci.digest import canonical_json, digest_bytes
from runtime.oci.image_contents import ImageContents, ImageSource
from runtime.oci.image_documents import CONFIG, LAYER, Descriptor, Manifest
from runtime.store import image_config
from runtime.store.records import Image, Layer
from runtime.store.store import Store


def import_image(reference: str, store: Store, *, observer: BuildObserver, architecture: str, names: Iterable[str] = ()) -> Image:
    """The image *reference* in the store, under *names*. Layers that the store has are not fetched."""
    with store.building():
        store.sweep()
        with (
            store.staging() as scratch,
            open_image(reference, architecture=architecture, progress=observer.download, scratch=scratch) as source,
        ):
            image = import_source(source, store, observer=observer, names=names, what=reference)
            remember_places(reference, source.contents, store)
        remember_import(ImportImage(reference, source.contents.manifest_digest), source.contents, image.layers, store)
    return image


def import_source(source: ImageSource, store: Store, *, observer: BuildObserver, names: Iterable[str], what: str) -> Image:
    """The opened image *source* in the store. To be called as a part of a build (`Store.building`)."""
    if not source.contents.diff_ids:
        raise BadContent(f"`{what}` has no layers")
    step = ImportImage(what, source.contents.manifest_digest)
    observer.step_started(step)
    layers = import_layers(source, store, what=what, done=lambda text: observer.output(step, text))
    return _stored(source.contents, layers, store, names)


def _stored(contents: ImageContents, layers: tuple[Layer, ...], store: Store, names: Iterable[str]) -> Image:
    encoded = contents.config_bytes or canonical_json(contents.config)
    manifest = Manifest(
        Descriptor(CONFIG, digest_bytes(encoded), len(encoded)),
        tuple(Descriptor(LAYER, layer.diff_id, layer.size_bytes) for layer in layers),
    ).to_json()
    # The bytes first: an image that is there is whole.
    digest = digest_bytes(canonical_json(manifest))
    unfinished = Image(digest, contents.config, layers, (), int(time.time()), manifest)
    keeps_bytes = encoded != canonical_json(contents.config)
    if keeps_bytes:
        store.attach(unfinished, image_config.CONFIG, encoded)
    image = store.put_image(config=contents.config, manifest=manifest, layers=layers, names=names)
    if keeps_bytes and store.attached(image, image_config.CONFIG) is None:
        store.attach(image, image_config.CONFIG, encoded)  # garbage was collected in between
    return image
