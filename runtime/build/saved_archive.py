"""What `docker save` writes: a tar archive with `manifest.json`, configurations and layers.

Such an archive has no manifest that names an image; its identity here is the digest of its configuration (Docker's "image ID").
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from runtime.build.archive_members import ArchiveMembers
from runtime.errors import BuildError
from runtime.oci.digest import digest_bytes
from runtime.oci.image_contents import ImageContents
from runtime.oci.image_documents import SavedImage, checked_diff_ids, parse_document, saved_images_from_json
from runtime.oci.reference import same_image

LIST = "manifest.json"


class SavedArchive:
    """The *image* of such an archive."""

    def __init__(self, members: ArchiveMembers, image: SavedImage) -> None:
        self._members = members
        self._layers = image.layers
        encoded = members.document(image.config)
        config = parse_document(encoded, "image configuration")
        diff_ids = checked_diff_ids(config, len(image.layers), architecture=None)
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
