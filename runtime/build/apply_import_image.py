"""Apply an ImportImage step: layers of an image in files become layers of the store, each unpacked once.

An imported layer keeps its mtimes, since bytecode that came with it is bound to them. Its stream is made anew from the manifest,
so its diff_id here is a function of its content but not the one that it had; that one is its cache key.
"""

from __future__ import annotations

from runtime.build.cache_key import IMPORT_VERSION, key_fields, step_key
from runtime.build.image_source import open_image
from runtime.build.observer import BuildObserver
from runtime.build.plan import ImportImage
from runtime.build.step_label import step_label
from runtime.errors import BadContent, BuildError
from runtime.layer.compression import decompressed
from runtime.layer.extract import extract_verified
from runtime.oci.digest import Digest, digest_json
from runtime.oci.image_contents import ImageContents, ImageSource
from runtime.store.records import Layer
from runtime.store.store import Store

_WORKERS = 4


def apply_import_image(
    step: ImportImage, *, store: Store, observer: BuildObserver, architecture: str = "amd64"
) -> tuple[Layer, ...]:
    """The layers of *step*, bottom first. Raises BuildError when the image isn't the one that was planned."""
    from concurrent.futures import ThreadPoolExecutor

    with open_image(step.reference, architecture=architecture, progress=observer.download) as source:
        contents = source.contents
        if contents.manifest_digest != step.manifest_digest:
            raise BuildError(
                f"`{step.reference}` has changed: it is `{contents.manifest_digest}` now, not `{step.manifest_digest}`",
                hint="plan again",
            )
        if not contents.diff_ids:
            raise BadContent(f"`{step.reference}` has no layers")
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="import") as pool:
            futures = [
                pool.submit(_import_layer, source, position, diff_id, store) for position, diff_id in enumerate(contents.diff_ids)
            ]
        layers = []
        for future in futures:
            layers.append(future.result())
            observer.message(f"{step_label(step)}: layer {len(layers)} of {len(futures)}")
    return remember_import(step, contents, tuple(layers), store)


def remember_import(step: ImportImage, contents: ImageContents, layers: tuple[Layer, ...], store: Store) -> tuple[Layer, ...]:
    """Let the step's key lead to all of its *layers*: the files are not needed again."""
    key = step_key(step, None)
    fields = key_fields(step, None) | {"layers": [layer.key for layer in layers], "config": contents.config}
    store.remember_key(key, layers[-1], fields=fields)
    return layers


def imported_layer_key(diff_id: Digest) -> Digest:
    """The cache key of a layer that came with *diff_id*; images that share a layer share it here."""
    return digest_json({"kind": "imported-layer", "version": IMPORT_VERSION, "diff_id": diff_id})


def _import_layer(source: ImageSource, position: int, diff_id: Digest, store: Store) -> Layer:
    key = imported_layer_key(diff_id)
    with store.lock([key]):
        known = store.find(key)
        if known is not None:
            return known
        with store.staging() as staging, source.layer(position) as file, decompressed(file) as stream:
            root = staging / "root"
            root.mkdir()
            tree = extract_verified(stream, root, diff_id=diff_id)
            return store.publish(key, root, tree, label=f"imported layer {position + 1} ({diff_id.short})")
