"""The store: blobs, unpacked layers and images, addressed by content.

    blobs/sha256/<hex>            bytes: manifests, configurations, .debs
    layers/<diff_id hex>/root/    a layer's directory, mounted read-only as an overlay lower directory
                        /tree.jsonl, /layer.json; /stream: the record of the tar stream that an imported layer came as
    keys/<key hex>                cache key → diff_id
    images/<digest hex>.json      image → manifest, configuration, layers
    plans/<plan key hex>          plan key → image digest
    attachments/<digest hex>.<what>   what is known beside an image: its recipe, its SBOM, where it was pushed
    names/<name>                  name → image digest
    locks/<key hex>               held while that key is built
    unsynced/<diff_id hex>        which boot wrote the layer, until it is known to be on the disk
    pins/<digest hex>             images that somebody said must stay
    tmp/                          things being made, and a file for each build in progress; swept

Everything gets its name by rename(2) and is complete when it has it, so a builder may die at any point. Nothing with a name
is changed afterwards; its mtime says when it was last used. What nobody needs is `garbage.py`'s, who needs what `in_use.py`'s.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from runtime.errors import NoSuchImage, StoreError
from runtime.light_dataclasses import replace
from runtime.oci.digest import Digest, canonical_json, digest_bytes
from runtime.store.records import GATE, MARKS, PINS, Image, Layer, image_from, image_record, layer_from, name_file, name_of_file
from runtime.suggestions import did_you_mean

if TYPE_CHECKING:
    from runtime.store.in_use import HeldImage

__all__ = ["Image", "Layer", "Store"]

_DIRECTORIES = ("blobs/sha256", "layers", "keys", "images", "plans", "attachments", "names", "locks", "unsynced", PINS, "tmp")


class Store:
    """The store below *root*. Making one touches nothing; `ensure` makes the directories."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._at = os.fspath(root)
        self._builds = 0

    def ensure(self) -> Store:
        """Make the directories, private to this user. Idempotent."""
        from runtime.store.failures import store_error

        try:
            for name in _DIRECTORIES:
                (self.root / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise store_error(error, f"cannot make the store `{self.root}`") from error
        return self

    # Layers

    def find(self, key: Digest) -> Layer | None:
        """The layer that was built under *key*; None when it has to be built."""
        record = _read_json(f"{self._at}/keys/{key.hex}")
        if record is None:
            return None
        layer = layer_from(record, key)
        if layer is None or not (self._take if self._builds else self._is_present)(layer.diff_id):
            return None
        from runtime.store.power_cuts import is_whole, suspects

        suspect = layer.diff_id.hex in suspects(self._at)
        return None if suspect and not is_whole(self.root, layer.diff_id) else layer

    def _is_present(self, diff_id: Digest) -> bool:
        return os.path.exists(f"{self._at}/layers/{diff_id.hex}/layer.json")

    def _take(self, diff_id: Digest) -> bool:
        """Whether the layer is there; if so it counts as used now."""
        return self._touch(f"layers/{diff_id.hex}/layer.json")

    def staging(self) -> AbstractContextManager[Path]:
        """A new empty directory on the store's file system, removed at the end unless it was published."""
        from runtime.store.staging import staging

        self.ensure()
        return staging(self.root / "tmp")

    def container_staging(self) -> AbstractContextManager[Path]:
        """The same for who runs a container there: on this machine's scratch where the store's file system cannot carry its
        writable layer (NFS, …). `publish` takes a directory from either."""
        from runtime.store.scratch import room_for_containers
        from runtime.store.staging import staging

        self.ensure()
        return staging(room_for_containers(self.root / "tmp", os.environ))

    def sweep(self) -> int:
        """Remove what killed builders left. Returns how many leftovers there were."""
        from runtime.store.staging import sweep

        return sweep(self.root / "tmp") if self.has_leftovers() else 0

    def has_leftovers(self) -> bool:
        """Whether `sweep` may have anything to do: one directory listing."""
        return any(name != GATE for name in self._names("tmp"))

    def confirm(self) -> int:
        """Make the layers of this boot survive a power cut (syncfs). Returns how many needed it; free when none did."""
        from runtime.store.power_cuts import confirm

        return confirm(self.root)

    def has_unconfirmed(self) -> bool:
        """Whether `confirm` has anything to do: one directory listing."""
        return any(self._names(MARKS))

    @contextmanager
    def building(self) -> Iterator[None]:
        """Be a build in progress: no layer that it finds or publishes is collected until it has its image."""
        from runtime.store.in_use import building

        self.ensure()
        with building(self.root):
            self._builds += 1
            try:
                yield
            finally:
                self._builds -= 1

    def hold(self, image: Image) -> HeldImage | None:
        """Keep *image* from being collected for as long as the returned object lives; None when it is gone already."""
        from runtime.store.in_use import hold

        return hold(self.root, image.digest)

    def lock(self, keys: Iterable[Digest], *, when_taken: Callable[[], object] = lambda: None) -> AbstractContextManager[None]:
        """Hold the build locks of *keys*; waits for another builder of any of them, after it has called *when_taken*."""
        from runtime.store.in_use import key_locks

        self.ensure()
        return key_locks(self.root / "locks", keys, when_taken=when_taken)

    def publish(
        self, key: Digest, staging_root: Path, tree: Any = None, *, label: str, fields: dict[str, Any] | None = None
    ) -> Layer:
        """Make the directory *staging_root* the layer of *key*. It is taken away (renamed), or removed if we have that layer.

        *tree* says what the layer is where the directory cannot (owners as an ordinary user); without it the directory is
        scanned. Modes, owners and mtimes are brought into their one form, but those of files that have a TreeDigest already.
        *fields* are the readable inputs behind *key*. Idempotent and safe against concurrent publishers and kill -9.
        """
        from runtime.store.publish import publish_layer

        self.ensure()
        layer = publish_layer(self.root, key, staging_root, tree, label=label)
        self.remember_key(key, layer, fields=fields)
        return layer

    def remember_key(self, key: Digest, layer: Layer, *, fields: dict[str, Any] | None = None) -> Layer:
        """Let *key* lead to the stored *layer*. Returns the layer under that key."""
        record = {"diff_id": layer.diff_id, "size": layer.size_bytes, "label": layer.label}
        if fields is not None:
            record["fields"] = fields
        self._write(f"keys/{key.hex}", canonical_json(record))
        return Layer(layer.diff_id, key, layer.size_bytes, layer.label)

    def key_fields(self, key: Digest) -> dict[str, Any] | None:
        """The readable inputs that were published with *key*."""
        record = _read_json(f"{self._at}/keys/{key.hex}")
        fields = None if record is None else record.get("fields")
        return fields if isinstance(fields, dict) else None

    def remember(self, key: Digest, record: dict[str, Any]) -> None:
        """Keep the small *record* under *key*: an answer that is slow to find again."""
        self._write(f"keys/{key.hex}", canonical_json(record))

    def recall(self, key: Digest) -> dict[str, Any] | None:
        """What `remember` kept under *key*."""
        return _read_json(f"{self._at}/keys/{key.hex}")

    def layer_dir(self, layer: Layer | Digest) -> Path:
        """The layer's directory, for an overlay's lower directory or for reading; never to be changed."""
        return Path(f"{self._at}/layers/{_diff_id(layer).hex}/root")

    def tree_of(self, layer: Layer | Digest) -> Any:
        """The layer's manifest (a `runtime.layer.tree.Tree`)."""
        from runtime.layer.tree import read_tree

        return read_tree(Path(f"{self._at}/layers/{_diff_id(layer).hex}/tree.jsonl"))

    def layers(self) -> list[Digest]:
        """diff_ids of all layers."""
        return [Digest(f"sha256:{name}") for name in self._names("layers") if len(name) == 64]

    # Blobs

    def put_blob(self, chunks: Iterable[bytes], *, expected: Digest | None = None) -> tuple[Digest, int]:
        """Store *chunks*; (digest, size). Raises BadContent when they don't have the *expected* digest."""
        from runtime.store.blobs import put_blob

        self.ensure()
        return put_blob(self.root / "blobs" / "sha256", chunks, tmp=self.root / "tmp", expected=expected)

    def open_blob(self, digest: Digest) -> BinaryIO:
        """Blob *digest*, opened for reading. Raises StoreError when it isn't there."""
        from runtime.store.blobs import open_blob

        return open_blob(self.root / "blobs" / "sha256", digest)

    def has_blob(self, digest: Digest) -> bool:
        return os.path.exists(self.blob_path(digest))

    def blob_path(self, digest: Digest) -> Path:
        return self.root / "blobs" / "sha256" / digest.hex

    # Images

    def find_image(self, plan_key: Digest) -> Image | None:
        """The image that was built from the plan with that key, if it and its layers are still here."""
        try:
            with open(f"{self._at}/plans/{plan_key.hex}") as file:
                digest = file.read().strip()
        except FileNotFoundError:
            return None
        if len(digest) != 71:
            return None
        image = self.image_of(Digest(digest))
        if image is None or not all(self._is_present(layer.diff_id) for layer in image.layers):
            return None
        from runtime.store.power_cuts import suspects

        doubtful = suspects(self._at)
        if doubtful and any(layer.diff_id.hex in doubtful for layer in image.layers):
            return None
        with suppress(OSError):  # a store on a read-only file system is used all the same
            os.utime(f"{self._at}/plans/{plan_key.hex}")
        return image

    def put_image(
        self,
        *,
        config: dict[str, Any],
        manifest: dict[str, Any],
        layers: Iterable[Layer],
        groups: Iterable[tuple[int, ...]] = (),
        plan_key: Digest | None = None,
        names: Iterable[str] = (),
    ) -> Image:
        """Store an image; with *plan_key* it is found again by `find_image`. Names move here from other images."""
        self.ensure()
        digest = digest_bytes(canonical_json(manifest))
        stacked = tuple(layers)
        made_of = tuple(groups) or tuple((position,) for position in range(len(stacked)))
        image = Image(digest, config, stacked, tuple(names), int(time.time()), manifest, made_of)
        known = self.image_of(digest)
        if known is None or known.layers != image.layers or not self._touch(f"images/{digest.hex}.json"):
            self._write(f"images/{digest.hex}.json", canonical_json(image_record(image)))
        for name in image.names:
            self.name_image(image, name)
        if plan_key is not None:
            self._write(f"plans/{plan_key.hex}", digest.encode())
        return image

    def name_image(self, image: Image, name: str) -> None:
        """Let *name* lead to *image*, wherever it led before; another way to write it (`x:latest` of `x`) goes."""
        file = f"names/{name_file(name)}"
        if _read_text(f"{self._at}/{file}") == image.digest:
            return
        from runtime.oci.reference import same_image

        self._write(file, image.digest.encode())
        for other in self._names("names"):
            if other != name_file(name) and same_image(name, name_of_file(other)):
                with suppress(FileNotFoundError):
                    os.unlink(f"{self._at}/names/{other}")

    def attach(self, image: Image, what: str, content: bytes) -> None:
        """Keep *content* beside *image* under the plain name *what*; it goes when the image goes."""
        self._write(f"attachments/{image.digest.hex}.{what}", content)

    def attached(self, image: Image, what: str) -> bytes | None:
        """What `attach` kept."""
        try:
            return self.attachment(image.digest, what).read_bytes() or None
        except FileNotFoundError:
            return None

    def attachment(self, image: Digest, what: str) -> Path:
        """The file that has it, if it is there; never changed, so it may be linked to. Empty: lost (`power_cuts.py`)."""
        return self.root / "attachments" / f"{image.hex}.{what}"

    def is_attached(self, image: Image, what: str) -> bool:
        """Whether `attach` kept something under *what*."""
        return self.attached(image, what) is not None

    def images(self) -> list[Image]:
        """All images, the newest first, with their names."""
        names = self.names_by_digest()
        found = (self.image_of(digest) for digest in self.image_digests())
        images = [replace(image, names=names.get(image.digest, ())) for image in found if image is not None]
        return sorted(images, key=lambda image: (-image.created_at, image.digest))

    def image_digests(self) -> list[Digest]:
        """Digests of all images, without reading them."""
        return [Digest(f"sha256:{name[:64]}") for name in self._names("images") if len(name) == 64 + len(".json")]

    def names_by_digest(self) -> dict[str, tuple[str, ...]]:
        """Image → its names."""
        names: dict[str, list[str]] = {}
        for file_name in self._names("names"):
            digest = _read_text(f"{self._at}/names/{file_name}")
            if digest is not None:
                names.setdefault(digest, []).append(name_of_file(file_name))
        return {digest: tuple(sorted(of_it)) for digest, of_it in names.items()}

    def image(self, reference: str) -> Image:
        """The image that *reference* means: a name (`x` is `x:latest`), a digest or a prefix of one (with or without `sha256:`).

        A whole digest costs one read; then `names` is empty.
        """
        if reference.startswith("sha256:") and len(reference) == _WHOLE_DIGEST:
            whole = self.image_of(Digest(reference))
            if whole is not None:
                return whole
        images = self.images()
        named = [image for image in images if reference in image.names]
        if not named:
            from runtime.oci.reference import same_image

            named = [image for image in images if any(same_image(reference, name) for name in image.names)]
        if named:
            return named[0]
        prefix = reference.removeprefix("sha256:")
        fitting = [image for image in images if prefix and image.digest.hex.startswith(prefix)]
        if len(fitting) == 1:
            return fitting[0]
        if not fitting:
            near = did_you_mean(reference, [name for image in images for name in image.names])
            raise NoSuchImage(f"no image `{reference}` in the store", hint=near or "`launch images` lists what is there")
        several = [image.digest.short for image in fitting[:5]]
        raise StoreError(f"`{reference}` fits {len(fitting)} images: {', '.join(several)}", hint="give more digits")

    def image_of(self, digest: Digest) -> Image | None:
        """The image *digest*, without its names; None when it isn't there."""
        record = _read_json(f"{self._at}/images/{digest.hex}.json")
        return None if record is None else image_from(record, digest)

    def _names(self, directory: str) -> Iterator[str]:
        try:
            yield from sorted(os.listdir(f"{self._at}/{directory}"))
        except FileNotFoundError:
            return

    def _touch(self, relative: str) -> bool:
        """Let it be used now; False when it isn't there. Once true, no garbage that is being collected takes it."""
        from runtime.store.failures import store_errors
        from runtime.store.in_use import naming

        with store_errors(f"cannot write to the store `{self._at}`"), naming(self.root):
            try:
                os.utime(f"{self._at}/{relative}")
            except FileNotFoundError:
                return False
        return True

    def _write(self, relative: str, content: bytes) -> None:
        from runtime.store.blobs import write_atomically
        from runtime.store.in_use import naming

        with naming(self.root):
            write_atomically(self.root / relative, content, tmp=self.root / "tmp")


_WHOLE_DIGEST = len("sha256:") + 64


def _diff_id(layer: Layer | Digest) -> Digest:
    return layer.diff_id if isinstance(layer, Layer) else layer


def _read_text(path: str) -> str | None:
    try:
        with open(path) as file:
            return file.read().strip()
    except FileNotFoundError:
        return None


def _read_json(path: str) -> dict[str, Any] | None:
    """The JSON object in *path*; None when there is none, or when a power cut left an empty or torn file."""
    try:
        with open(path, "rb") as file:
            document = json.loads(file.read())
    except (FileNotFoundError, ValueError):
        return None
    return document if isinstance(document, dict) else None
