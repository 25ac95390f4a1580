"""An OCI image layout (image-layout.md), in a directory or in a tar archive. What is found is checked against its digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from runtime.errors import BadContent, BuildError
from runtime.layer.tree import printable
from runtime.oci.digest import Digest, digest_bytes
from runtime.oci.image_documents import (
    CONTAINERD_NAME,
    DOCUMENT_LIMIT,
    REF_NAME,
    Descriptor,
    choose_platform,
    image_contents,
    index_from_json,
    is_index,
    manifest_from_json,
    parse_document,
)


class LayoutFiles(Protocol):
    """Where the files of a layout are."""

    def document(self, name: str) -> bytes: ...

    def opened(self, name: str) -> AbstractContextManager[BinaryIO]: ...


class DirectoryFiles:
    """A layout in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def document(self, name: str) -> bytes:
        with open(self._directory / name, "rb") as file:
            content = file.read(DOCUMENT_LIMIT + 1)
        if len(content) > DOCUMENT_LIMIT:
            raise BadContent(f"`{self._directory / name}` has more than {DOCUMENT_LIMIT} bytes")
        return content

    def opened(self, name: str) -> AbstractContextManager[BinaryIO]:
        return open(self._directory / name, "rb")


class Layout:
    """One image of a layout: the one whose manifest is *found*."""

    def __init__(self, files: LayoutFiles, found: Descriptor, *, architecture: str) -> None:
        self._files = files
        manifest = manifest_from_json(parse_document(_document(files, found), "image manifest"))
        config_bytes = _document(files, manifest.config)
        self.contents = image_contents(found.digest, manifest, config_bytes, architecture=architecture)

    @contextmanager
    def layer(self, position: int) -> Iterator[BinaryIO]:
        """The layer as a file that is read once; the end of the `with` says whether it was what the manifest names."""
        descriptor = self.contents.blobs[position]
        with self._files.opened(_blob(descriptor.digest)) as file:
            checked = _CheckedFile(file, descriptor)
            try:
                yield cast(BinaryIO, checked)
            except BadContent:
                checked.finish()  # a damaged blob is what to say, whatever was the first to stumble over it
                raise
            checked.finish()


def listed_images(files: LayoutFiles, what: str) -> tuple[Descriptor, ...]:
    """What the layout's `index.json` lists."""
    layout = parse_document(files.document("oci-layout"), "`oci-layout`")
    if layout.get("imageLayoutVersion") != "1.0.0":
        raise BadContent(f"`{what}` has image layout version {layout.get('imageLayoutVersion')!r}, not `1.0.0`")
    return index_from_json(parse_document(files.document("index.json"), "`index.json`"))


def choose_listed(files: LayoutFiles, tag: str | None, *, architecture: str, what: str) -> Descriptor:
    """The manifest of the one image in the layout, or of the one that *tag* names: `ref.name`, a whole name, or a digest."""
    listed = listed_images(files, what)
    if tag is not None:
        listed = tuple(item for item in listed if tag in (*names_of(item), item.digest))
        what = f"{what}:{tag}"
    if not listed:
        raise BuildError(f"no image `{what}`")
    tags = {item.annotations.get(REF_NAME) for item in listed}
    if len(listed) > 1 and len(tags) > 1:
        hint = f"name one: {', '.join(sorted(printable(tag) for tag in tags if tag))}"
        raise BuildError(f"`{what}` holds {len(listed)} images", hint=hint)
    return for_platform(files, listed, architecture=architecture, what=what)


def for_platform(files: LayoutFiles, listed: Sequence[Descriptor], *, architecture: str, what: str) -> Descriptor:
    """The manifest for linux and *architecture* among *listed*, which are one image."""
    found = choose_platform(listed, architecture=architecture, what=f"`{what}`") if len(listed) > 1 else listed[0]
    # One level of nesting is what tools write: an index for each tag, over platforms.
    if is_index(found):
        nested = index_from_json(parse_document(_document(files, found), "image index"))
        found = choose_platform(nested, architecture=architecture, what=f"`{what}`")
    return found


def names_of(item: Descriptor) -> tuple[str, ...]:
    """The names that an index gives one of its images; the whole name first, if there is one."""
    found = (item.annotations.get(CONTAINERD_NAME), item.annotations.get(REF_NAME))
    return tuple(name for name in found if name)


def _document(files: LayoutFiles, descriptor: Descriptor) -> bytes:
    content = files.document(_blob(descriptor.digest))
    if digest_bytes(content) != descriptor.digest or len(content) != descriptor.size:
        raise BadContent(f"blob `{descriptor.digest}` of the image layout doesn't have that digest")
    return content


def _blob(digest: Digest) -> str:
    return f"blobs/sha256/{digest.hex}"


class _CheckedFile:
    """A file that is hashed while it is read."""

    def __init__(self, file: BinaryIO, descriptor: Descriptor) -> None:
        self._file = file
        self._descriptor = descriptor
        self._hasher = hashlib.sha256()
        self._size = 0

    def read(self, size: int, /) -> bytes:
        taken = self._file.read(size)
        self._hasher.update(taken)
        self._size += len(taken)
        return taken

    def finish(self) -> None:
        while self.read(1 << 18):
            pass
        found = f"sha256:{self._hasher.hexdigest()}"
        if found != self._descriptor.digest or self._size != self._descriptor.size:
            raise BadContent(f"layer blob `{self._descriptor.digest}` has digest `{found}`")
