"""All images of a file or directory, whatever wrote it: `docker save`, `podman save`, buildah, skopeo, BuildKit, or we."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.build.archive_members import ArchiveMembers, plain_archive
from runtime.build.image_layout import DirectoryFiles, Layout, LayoutFiles, for_platform, listed_images
from runtime.build.image_source import unreadable_is_told
from runtime.build.import_image import import_source
from runtime.build.observer import BuildObserver
from runtime.build.saved_archive import LIST, SavedArchive, saved_images
from runtime.errors import BadContent, BuildError
from runtime.oci.image_contents import ImageSource
from runtime.oci.image_documents import CONTAINERD_NAME, REF_NAME, Descriptor
from runtime.oci.reference import familiar_name
from runtime.store.records import Image
from runtime.store.store import Store

_LAYOUT = "oci-layout"


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
    with unreadable_is_told(str(path)):
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
