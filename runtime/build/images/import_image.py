"""Images from outside become images of the store as they are: one that is named, or all of a file or directory, whatever wrote it
(`docker save`, `podman save`, buildah, skopeo, BuildKit, or we).

An image keeps its layers with their diff_ids, and its configuration byte for byte. The manifest is made here, over uncompressed
layers: how they were packed is nothing that an image in the store knows. So the image's digest is a function of configuration and
layers, wherever they came from, and Docker's ID of it stays what it was.

Layers are taken side by side, and each is fetched, decompressed, hashed and unpacked in one pass. An imported layer keeps its
mtimes, since bytecode that came with it is bound to them, and its diff_id: the record of its stream lies beside it. A step of a
plan (ImportImage) takes the layers alone.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from runtime.build.cache_key import IMPORT_VERSION, key_fields, step_key
from runtime.build.images.archive_members import ArchiveMembers, plain_archive
from runtime.build.images.image_layout import DirectoryFiles, Layout, LayoutFiles, for_platform, listed_images
from runtime.build.images.image_source import LIST, SavedArchive, open_image, reading_errors, saved_images
from runtime.build.observer import BuildObserver
from runtime.build.plan import ImportImage
from runtime.errors import BadContent, BuildError
from runtime.layer.compression import ByteStream, decompress
from runtime.layer.extract import extract_recorded, failures_of
from runtime.light_dataclasses import dataclass
from runtime.oci.digest import Digest, canonical_json, digest_bytes, digest_json
from runtime.oci.image_documents import CONFIG, CONTAINERD_NAME, LAYER, REF_NAME, Descriptor, ImageContents, ImageSource, Manifest
from runtime.oci.reference import Remote, familiar_name, parse_reference
from runtime.side_by_side import Stop, side_by_side
from runtime.store import image_blobs
from runtime.store.failures import store_errors
from runtime.store.layer_files import settle_new_file
from runtime.store.layer_on_disk import STREAM
from runtime.store.publish import publish_unpacked
from runtime.store.records import Image, Layer
from runtime.store.store import Store

_LAYOUT = "oci-layout"
_WORKERS = 4


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
    return _store_image(source.contents, layers, store, names)


def _store_image(contents: ImageContents, layers: tuple[Layer, ...], store: Store, names: Iterable[str]) -> Image:
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
        store.attach(unfinished, image_blobs.CONFIG, encoded)
    image = store.put_image(config=contents.config, manifest=manifest, layers=layers, names=names)
    if keeps_bytes and store.attached(image, image_blobs.CONFIG) is None:
        store.attach(image, image_blobs.CONFIG, encoded)  # garbage was collected in between
    return image


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image that is in the store now."""

    image: Image
    names: tuple[str, ...]


def load_images(path: Path, store: Store, *, observer: BuildObserver, architecture: str) -> list[Loaded]:
    """Every image in *path* that is for this *architecture*, into the store under the names that it has there."""
    loaded = []
    with store.building():
        store.sweep()
        with store.staging() as scratch, _images_in(path, architecture=architecture, scratch=scratch) as found:
            for source, names in found:
                image = import_source(source, store, observer=observer, names=names, what=", ".join(names) or str(path))
                loaded.append(Loaded(image, names))
    return loaded


@contextmanager
def _images_in(path: Path, *, architecture: str, scratch: Path) -> Iterator[Sequence[tuple[ImageSource, tuple[str, ...]]]]:
    """Sources and names of the images in *path*."""
    with reading_errors(str(path)):
        if path.is_dir():
            if not (path / _LAYOUT).exists():
                raise BuildError(f"`{path}` is no OCI image layout: it has no file `{_LAYOUT}`")
            yield _of_layout(DirectoryFiles(path), path, architecture)
            return
        with plain_archive(path, scratch=scratch) as file:
            members = ArchiveMembers(file, str(path))
            if LIST in members:
                yield [(SavedArchive(members, image), image.tags) for image in saved_images(members)]
            elif _LAYOUT in members:
                yield _of_layout(members, path, architecture)
            else:
                raise BadContent(
                    f"`{path}` holds no image: neither `{LIST}` nor `{_LAYOUT}` is in it",
                    hint="images are what `docker save`, `podman save`, skopeo and `launch save` write",
                )


def _of_layout(files: LayoutFiles, path: Path, architecture: str) -> list[tuple[ImageSource, tuple[str, ...]]]:
    images: dict[str | None, list[Descriptor]] = {}
    for item in listed_images(files, str(path)):
        images.setdefault(_name_of(item, path), []).append(item)
    if not images:
        raise BuildError(f"`{path}` lists no image")
    by_digest: dict[str, list[str]] = {}
    chosen: dict[str, Descriptor] = {}
    for name, listed in images.items():
        found = for_platform(files, listed, architecture=architecture, what=name or str(path))
        chosen[found.digest] = found
        by_digest.setdefault(found.digest, []).extend([] if name is None else [name])
    return [(Layout(files, found, architecture=architecture), tuple(by_digest[digest])) for digest, found in chosen.items()]


def _name_of(item: Descriptor, path: Path) -> str | None:
    """What an index calls an image; a bare tag (`ref.name` is one for skopeo and BuildKit) goes with the name of the file."""
    whole = item.annotations.get(CONTAINERD_NAME)
    tag = item.annotations.get(REF_NAME)
    if whole is None and tag is not None and ("/" in tag or ":" in tag):
        whole = tag
    if whole is not None:
        return familiar_name(whole) or whole
    if tag is None:
        return None
    return familiar_name(f"{path.resolve().name.partition('.')[0].lower()}:{tag}") or tag


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
