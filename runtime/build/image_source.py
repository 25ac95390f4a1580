"""Images from outside: an OCI image layout, what `docker save` wrote, or a registry's (`runtime/registry`). No unpacking.

What is found is checked against its digest before it is used. An archive of `docker save` has no manifest that names it; its
identity here is the digest of its configuration (Docker's "image ID").
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from runtime.errors import BadContent, BuildError
from runtime.layer import tar_format
from runtime.layer.compression import decompressed
from runtime.layer.tar_reader import read_header
from runtime.oci.digest import Digest, digest_bytes
from runtime.oci.image_contents import ImageContents, ImageSource
from runtime.oci.image_documents import (
    DOCUMENT_LIMIT,
    REF_NAME,
    Descriptor,
    choose_platform,
    diff_ids_from_config,
    index_from_json,
    is_index,
    manifest_from_json,
    parse_document,
    saved_images_from_json,
)
from runtime.oci.reference import Archive, Remote, parse_reference

_CHUNK = 1 << 20


def inspect_image(reference: str, *, architecture: str = "amd64") -> ImageContents:
    """What the image *reference* (`oci:…`, `docker-archive:…`, or a registry's) is, without unpacking it."""
    with open_image(reference, architecture=architecture) as source:
        return source.contents


@contextmanager
def open_image(
    reference: str, *, architecture: str = "amd64", progress: Callable[[str, int, int | None], None] | None = None
) -> Iterator[ImageSource]:
    """The image *reference*. Raises BuildError when it isn't there, BadContent when it is damaged, NetworkError.

    *progress* is told of what arrives: (what, bytes so far, bytes in all), from several threads.
    """
    parsed = parse_reference(reference)
    if isinstance(parsed, Remote):
        from runtime.registry.pull import open_remote

        with open_remote(parsed, architecture=architecture, progress=progress) as source:
            yield source
        return
    if not isinstance(parsed, Archive):
        raise BuildError(f"`{reference}` is no image in a file", hint="`oci:DIR[:TAG]` or `docker-archive:FILE[:NAME:TAG]`")
    try:
        if parsed.transport == "oci":
            yield _Layout(Path(parsed.path), parsed.tag, architecture)
        else:
            with open(parsed.path, "rb") as file, _plain_file(file) as plain:
                yield _SavedArchive(plain, parsed)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise BuildError(f"cannot read image `{reference}`: {error.strerror}: `{error.filename}`") from error


class _Layout:
    """An OCI image layout (image-layout.md)."""

    def __init__(self, directory: Path, tag: str | None, architecture: str) -> None:
        self._blobs = directory / "blobs"
        layout = parse_document(_small(directory / "oci-layout"), "`oci-layout`")
        if layout.get("imageLayoutVersion") != "1.0.0":
            raise BadContent(f"`{directory}` has image layout version {layout.get('imageLayoutVersion')!r}, not `1.0.0`")
        found = self._choose(directory, tag, architecture)
        manifest = manifest_from_json(parse_document(self._document(found), "image manifest"))
        config = parse_document(self._document(manifest.config), "image configuration")
        self._layers = manifest.layers
        diff_ids = _checked_diff_ids(config, len(manifest.layers), architecture)
        self.contents = ImageContents(found.digest, config, diff_ids, sum(layer.size for layer in manifest.layers))

    def _choose(self, directory: Path, tag: str | None, architecture: str) -> Descriptor:
        listed = index_from_json(parse_document(_small(directory / "index.json"), "`index.json`"))
        what = f"`oci:{directory}{':' + tag if tag else ''}`"
        if tag is not None:
            listed = tuple(item for item in listed if tag in (item.annotations.get(REF_NAME), item.digest))
        if not listed:
            raise BuildError(f"no image {what}")
        tags = {item.annotations.get(REF_NAME) for item in listed}
        if len(listed) > 1 and len(tags) > 1:
            raise BuildError(
                f"{what} holds {len(listed)} images", hint=f"name one: {', '.join(sorted(str(tag) for tag in tags if tag))}"
            )
        found = choose_platform(listed, architecture=architecture, what=what) if len(listed) > 1 else listed[0]
        # One level of nesting is what tools write: an index for each tag, over platforms.
        if is_index(found):
            nested = index_from_json(parse_document(self._document(found), "image index"))
            found = choose_platform(nested, architecture=architecture, what=what)
        return found

    def _document(self, descriptor: Descriptor) -> bytes:
        content = _small(self._path(descriptor.digest))
        if digest_bytes(content) != descriptor.digest or len(content) != descriptor.size:
            raise BadContent(f"blob `{descriptor.digest}` of the image layout doesn't have that digest")
        return content

    def _path(self, digest: Digest) -> Path:
        return self._blobs / "sha256" / digest.hex

    @contextmanager
    def layer(self, position: int) -> Iterator[BinaryIO]:
        descriptor = self._layers[position]
        with open(self._path(descriptor.digest), "rb") as file:
            found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            if found != descriptor.digest or file.tell() != descriptor.size:
                raise BadContent(f"layer blob `{descriptor.digest}` has digest `{found}`")
            file.seek(0)
            yield file


class _SavedArchive:
    """What `docker save` writes: a tar with `manifest.json`, configurations and layers."""

    def __init__(self, file: BinaryIO, reference: Archive) -> None:
        self._file = file
        self._members = _members(file)
        images = saved_images_from_json(self._content("manifest.json"))
        wanted = reference.tag
        fitting = [image for image in images if wanted is None or any(_same_name(wanted, tag) for tag in image.tags)]
        if len(fitting) != 1:
            there = ", ".join(tag for image in images for tag in image.tags) or "images without a name"
            raise BuildError(f"`{reference.path}` holds {len(fitting)} images that fit", hint=f"it holds: {there}")
        encoded = self._content(fitting[0].config)
        config = parse_document(encoded, "image configuration")
        self._layers = fitting[0].layers
        diff_ids = _checked_diff_ids(config, len(self._layers), None)
        size = sum(self._find(name)[1] for name in self._layers)
        self.contents = ImageContents(digest_bytes(encoded), config, diff_ids, size)

    def _find(self, name: str) -> tuple[int, int]:
        """(offset, size) of member *name*; a link (old Docker shares layers so) is followed once."""
        found = self._members.get(name)
        if isinstance(found, str):
            found = self._members.get(os.path.normpath(os.path.join(os.path.dirname(name), found)))
        if not isinstance(found, tuple):
            raise BadContent(f"the archive has no member `{name}`, which its `manifest.json` names")
        return found

    def _content(self, name: str) -> bytes:
        offset, size = self._find(name)
        if size > DOCUMENT_LIMIT:
            raise BadContent(f"member `{name}` has {size} bytes: more than {DOCUMENT_LIMIT} is not taken")
        self._file.seek(offset)
        return self._file.read(size)

    @contextmanager
    def layer(self, position: int) -> Iterator[BinaryIO]:
        # The content is checked against its diff_id while it is unpacked; `docker save` names no other digest.
        offset, size = self._find(self._layers[position])
        with open(os.dup(self._file.fileno()), "rb") as own:
            yield cast(BinaryIO, _Part(own.fileno(), offset, size))


class _Part:
    """A part of a file as a seekable file; read with pread(2), so that parts can be read side by side."""

    def __init__(self, descriptor: int, start: int, size: int) -> None:
        self._descriptor = descriptor
        self._start = start
        self._size = size
        self._position = 0

    def read(self, size: int = -1, /) -> bytes:
        left = self._size - self._position
        data = os.pread(self._descriptor, left if size < 0 else min(size, left), self._start + self._position)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = min(max(base + offset, 0), self._size)
        return self._position


@contextmanager
def _plain_file(file: BinaryIO) -> Iterator[BinaryIO]:
    """*file*, or a temporary decompressed copy (`docker save | gzip`): members are found by seeking."""
    with decompressed(file) as stream:
        if stream is file:
            yield file
            return
        import tempfile

        with tempfile.TemporaryFile() as plain:
            while chunk := stream.read(_CHUNK):
                plain.write(chunk)
            plain.seek(0)
            yield cast(BinaryIO, plain)


def _members(file: BinaryIO) -> dict[str, tuple[int, int] | str]:
    """Name → (offset, size) of each file, or the target of each link, of a tar archive."""
    file.seek(0, os.SEEK_END)
    end = file.tell()
    file.seek(0)

    def read(size: int) -> bytes:
        data = file.read(size)
        if len(data) != size:
            raise BadContent("the archive is truncated")
        return data

    members: dict[str, tuple[int, int] | str] = {}
    while (header := read_header(read)) is not None:
        name = os.path.normpath(os.fsdecode(header.name))
        if header.type == tar_format.FILE:
            if name in members:
                raise BadContent(f"the archive has two members `{name}`")
            members[name] = (file.tell(), header.size)
            if file.tell() + header.size > end:
                raise BadContent(f"the archive is truncated in member `{name}`")
            file.seek(header.size + len(tar_format.padding(header.size)), os.SEEK_CUR)
        elif header.type in (tar_format.SYMLINK, tar_format.HARDLINK):
            link = os.fsdecode(header.link)
            # A hard link's target is a name of the archive, a symbolic link's is relative to the link.
            members[name] = link if header.type == tar_format.SYMLINK else os.path.relpath(link, os.path.dirname(name) or ".")
    return members


def _same_name(one: str, other: str) -> bool:
    """Whether two names mean one image: `x`, `x:latest` and `docker.io/library/x:latest` do (tools write either)."""
    try:
        return parse_reference(one) == parse_reference(other)
    except BadContent:
        return False


def _checked_diff_ids(config: dict[str, Any], layers: int, architecture: str | None) -> tuple[Digest, ...]:
    diff_ids = diff_ids_from_config(config)
    if len(diff_ids) != layers:
        raise BadContent(f"the image has {layers} layers and its configuration {len(diff_ids)} diff_ids")
    found = config.get("architecture")
    if config.get("os") != "linux" or (architecture is not None and found != architecture):
        raise BadContent(f"the image is for {config.get('os')}/{found}, not for linux/{architecture or 'this machine'}")
    return diff_ids


def _small(path: Path) -> bytes:
    with open(path, "rb") as file:
        content = file.read(DOCUMENT_LIMIT + 1)
    if len(content) > DOCUMENT_LIMIT:
        raise BadContent(f"`{path}` has more than {DOCUMENT_LIMIT} bytes")
    return content
