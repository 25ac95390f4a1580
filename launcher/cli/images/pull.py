"""`launch pull IMAGE`: fetch an image from its registry, and let later launches mean by its tag what it is now."""

from __future__ import annotations

import os
from collections.abc import Sequence

from launcher.cli import render
from launcher.cli.arguments import Talk
from launcher.cli.progress import passing_progress
from launcher.errors import ConfigError
from launcher.plan.bases.debian_record import debian_architecture
from launcher.plan.bases.imported_base import pin_reference
from launcher.plan.bases.pinning import Pinning
from runtime.build.observer import NullObserver
from runtime.oci.digest import Digest
from runtime.oci.reference import Remote, familiar_name, parse_reference
from runtime.plurals import counted
from runtime.registry.known_places import place_name, record_pull
from runtime.state_dir import state_dir
from runtime.store.records import Image
from runtime.store.store import Store


def pull_images(references: Sequence[str], talk: Talk, *, as_json: bool) -> int:
    pulled = []
    store = Store(state_dir().ensure().store)
    for reference in references:
        parsed = parse_reference(reference)
        if not isinstance(parsed, Remote):
            hint = "`launch load FILE` takes images in files"
            raise ConfigError(f"`{reference}` is no image in a registry", hint=hint)
        image, manifest_digest = _pull(reference, parsed, store, talk)
        name = place_name(parsed)
        pulled.append({"reference": name, "manifest_digest": str(manifest_digest), "image_digest": str(image.digest)})
        if not as_json:
            print(f"{name}@{manifest_digest}")
    if as_json:
        render.print_json(pulled)
    return 0


def _pull(reference: str, source: Remote, store: Store, talk: Talk) -> tuple[Image, Digest]:
    """The image, and the digest of its manifest in the registry."""
    from runtime.build.images.import_image import import_image

    pinned = pin_reference(reference, Pinning(state_dir(), os.environ, refresh=True))
    for warning in () if talk is Talk.QUIET else pinned.warnings:
        render.warn(warning)
    name = familiar_name(reference)
    with passing_progress(talk) as observer:
        # By its digest: the tag may have moved since it was asked.
        image = import_image(
            pinned.step.reference,
            store,
            observer=observer or NullObserver(),
            architecture=debian_architecture(),
            names=() if name is None or "@" in reference else (name,),
        )
    record_pull(image, store, source, pinned.step.manifest_digest)
    if talk is Talk.VERBOSE:
        size = render.size(image.size_bytes)
        render.say(f"{name or reference}: image {image.digest} in this store, {counted(len(image.layers), 'layer')}, {size}")
    return image, pinned.step.manifest_digest
