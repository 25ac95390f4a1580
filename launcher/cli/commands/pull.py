"""`launch pull IMAGE`: fetch an image from its registry, and let later launches mean by its tag what it is now."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing, nullcontext

from launcher.cli import arguments as args
from launcher.cli import render
from launcher.errors import ConfigError
from launcher.plan.bases.debian_record import debian_architecture
from launcher.plan.bases.imported_base import pin_reference
from runtime.build.observer import NullObserver
from runtime.build.step_label import counted
from runtime.oci.reference import Remote, familiar_name, parse_reference
from runtime.registry.known_places import place_name, record_pull
from runtime.state_dir import state_dir
from runtime.store.store import Store


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser(
        "pull",
        "Fetch images from their registries into the store, and print `NAME@DIGEST` of each, as the registry has it.",
        usage="IMAGE ... [-q]",
        epilog="A launch asks a registry once what a tag means; pull asks again. Nothing that is here already is fetched.",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="`[HOST/]NAME[:TAG][@sha256:…]`, with Docker's meaning")
    parser.add_argument("-q", "--quiet", action="store_true", help="nothing on stderr but errors")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    store = Store(state_dir().ensure().store)
    for reference in options.images:
        parsed = parse_reference(reference)
        if not isinstance(parsed, Remote):
            hint = "`launch load FILE` takes images in files"
            raise ConfigError(f"`{reference}` is no image in a registry", hint=hint)
        _pull(reference, store, quiet=options.quiet)
    return 0


def _pull(reference: str, store: Store, *, quiet: bool) -> None:
    from launcher.cli.progress import BuildProgress
    from runtime.build.images.import_image import import_image

    pinned = pin_reference(reference, state=state_dir(), environ=os.environ, refresh=True)
    for warning in () if quiet else pinned.warnings:
        render.warn(warning)
    name = familiar_name(reference)
    with nullcontext(NullObserver()) if quiet else closing(BuildProgress()) as observer:
        # By its digest: the tag may have moved since it was asked.
        image = import_image(
            pinned.step.reference,
            store,
            observer=observer,
            architecture=debian_architecture(),
            names=() if name is None or "@" in reference else (name,),
        )
    source = parse_reference(reference)
    assert isinstance(source, Remote)
    record_pull(image, store, source, pinned.manifest_digest)
    print(f"{place_name(source)}@{pinned.manifest_digest}")
    if args.verbose() and not quiet:
        size = render.size(sum(layer.size_bytes for layer in image.layers))
        render.say(f"{name or reference}: image {image.digest} in this store, {counted(len(image.layers), 'layer')}, {size}")
