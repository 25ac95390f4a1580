"""What `docker save` writes: a tar archive with `manifest.json`, configurations and layers.

Such an archive has no manifest that names an image; its identity here is the digest of its configuration (Docker's "image ID").
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from runtime.build.archive_members import ArchiveMembers
from runtime.errors import BadContent, BuildError
from runtime.oci.digest import digest_bytes
from runtime.oci.image_contents import ImageContents
from runtime.oci.image_documents import SavedImage, checked_diff_ids, parse_document, saved_images_from_json
from runtime.oci.reference import parse_reference

LIST = "manifest.json"


class SavedArchive:
    """One image of such an archive. *tag* chooses it: one of its names, or its ID."""

    def __init__(self, members: ArchiveMembers, tag: str | None, *, what: str) -> None:
        self._members = members
        images = saved_images(members)
        fitting = [image for image in images if tag is None or self._fits(image, tag)]
        if len(fitting) != 1:
            there = ", ".join(tag for image in images for tag in image.tags) or "images without a name"
            raise BuildError(f"`{what}` holds {len(fitting)} images that fit", hint=f"it holds: {there}")
        encoded = members.document(fitting[0].config)
        config = parse_document(encoded, "image configuration")
        self._layers = fitting[0].layers
        diff_ids = checked_diff_ids(config, len(self._layers), architecture=None)
        size = sum(members.size(name) for name in self._layers)
        self.contents = ImageContents(digest_bytes(encoded), config, diff_ids, size, encoded)

    def _fits(self, image: SavedImage, tag: str) -> bool:
        if tag.startswith("sha256:"):
            return digest_bytes(self._members.document(image.config)) == tag
        return any(_same_name(tag, name) for name in image.tags)

    @contextmanager
    def layer(self, position: int) -> Iterator[BinaryIO]:
        """The layer as a file. Its content is checked against its diff_id while it is unpacked; nothing names another digest."""
        with self._members.opened(self._layers[position]) as file:
            yield file


def saved_images(members: ArchiveMembers) -> tuple[SavedImage, ...]:
    """The images of the archive."""
    return saved_images_from_json(members.document(LIST))


def _same_name(one: str, other: str) -> bool:
    """Whether two names mean one image: `x`, `x:latest` and `docker.io/library/x:latest` do (tools write either)."""
    try:
        return parse_reference(one) == parse_reference(other)
    except BadContent:
        return False
