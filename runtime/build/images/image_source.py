"""Images from outside: an OCI image layout, what `docker save` wrote, or a registry's (`runtime/registry`). No unpacking.

What is found is checked against its digest before it is used, or while it is used where reading it twice would cost too much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from runtime.build.images.archive_members import ArchiveMembers, plain_archive
from runtime.build.images.image_layout import DirectoryFiles, Layout, LayoutFiles, choose_listed
from runtime.errors import BuildError, error_words
from runtime.oci.digest import Digest, digest_bytes
from runtime.oci.image_documents import (
    ImageContents,
    ImageSource,
    SavedImage,
    check_diff_ids,
    parse_document,
    saved_images_from_json,
)
from runtime.oci.reference import Archive, Remote, parse_reference, same_image

STORE = "store:"
"""Before a digest: an image that only this store has, since nobody knows where it came from."""

Progress = Callable[[str, int, int | None], None]
"""(what, bytes so far, bytes in all); called from several threads."""


def inspect_image(reference: str, *, architecture: str = "amd64") -> ImageContents:
    """What the image *reference* (`oci:…`, `oci-archive:…`, `docker-archive:…`, or a registry's) is, without unpacking it."""
    with open_image(reference, architecture=architecture) as source:
        return source.contents


@contextmanager
def open_image(
    reference: str, *, architecture: str = "amd64", progress: Progress | None = None, scratch: Path | None = None
) -> Iterator[ImageSource]:
    """The image *reference*. Raises BuildError when it isn't there, BadContent when it is damaged, NetworkError.

    *progress* is told of what arrives. A compressed archive is unpacked into *scratch* (the system's directory for such).
    """
    if reference.startswith(STORE):
        digest = Digest(reference.removeprefix(STORE))
        raise BuildError(
            f"the layers of image `{digest.short}` are not in this store, and their origin is not known",
            hint="an image that was loaded from a file has no other source: load it again",
        )
    parsed = parse_reference(reference)
    if isinstance(parsed, Remote):
        from runtime.registry.pull import open_remote

        with open_remote(parsed, architecture=architecture, progress=progress) as source:
            yield source
    elif isinstance(parsed, Archive):
        with open_archive(parsed, architecture=architecture, scratch=scratch) as source:
            yield source
    else:
        hint = "`oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:NAME:TAG]` or a name for a registry"
        raise BuildError(f"`{reference}` is no image that can be opened", hint=hint)


@contextmanager
def open_archive(archive: Archive, *, architecture: str, scratch: Path | None = None) -> Iterator[ImageSource]:
    """The image *archive* names, in files on this machine."""
    path = Path(archive.path)
    what = f"{archive.transport}:{archive.path}"
    with reading_errors(what):
        if archive.transport == "oci":
            yield _layout(DirectoryFiles(path), archive.tag, architecture, what)
            return
        with plain_archive(path, scratch=scratch) as file:
            members = ArchiveMembers(file, what)
            if archive.transport == "oci-archive":
                yield _layout(members, archive.tag, architecture, what)
            else:
                yield SavedArchive(members, choose_saved(members, archive.tag, what=what))


def _layout(files: LayoutFiles, tag: str | None, architecture: str, what: str) -> Layout:
    found = choose_listed(files, tag, architecture=architecture, what=what)
    return Layout(files, found, architecture=architecture)


@contextmanager
def reading_errors(what: str) -> Iterator[None]:
    """A file that is not there, or not for us, becomes a BuildError about image *what*."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise BuildError(f"cannot read image `{what}`: {error_words(error)}: `{error.filename}`") from error


LIST = "manifest.json"


class SavedArchive:
    """The *image* of such an archive."""

    def __init__(self, members: ArchiveMembers, image: SavedImage) -> None:
        self._members = members
        self._layers = image.layers
        encoded = members.document(image.config)
        config = parse_document(encoded, "image configuration")
        diff_ids = check_diff_ids(config, len(image.layers), architecture=None)
        size = sum(members.size(name) for name in image.layers)
        self.contents = ImageContents(digest_bytes(encoded), config, diff_ids, size, encoded)

    @contextmanager
    def layer(self, position: int) -> Iterator[BinaryIO]:
        """The layer as a file. Its content is checked against its diff_id while it is unpacked; nothing names another digest."""
        with self._members.opened(self._layers[position]) as file:
            yield file


def saved_images(members: ArchiveMembers) -> tuple[SavedImage, ...]:
    """The images of the archive."""
    return saved_images_from_json(members.document(LIST))


def choose_saved(members: ArchiveMembers, tag: str | None, *, what: str) -> SavedImage:
    """The one image of the archive, or the one that is called *tag*."""
    images = saved_images(members)
    fitting = [image for image in images if tag is None or any(same_image(tag, name) for name in image.tags)]
    if len(fitting) != 1:
        there = ", ".join(tag for image in images for tag in image.tags) or "images without a name"
        raise BuildError(f"`{what}` holds {len(fitting)} images that fit", hint=f"it holds: {there}")
    return fitting[0]
