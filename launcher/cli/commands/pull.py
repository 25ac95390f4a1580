"""`launch pull IMAGE`: fetch an image from its registry, and let later launches mean by its tag what it is now."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext

from launcher.cli import arguments as args
from launcher.cli import render
from launcher.errors import ConfigError
from launcher.plan.imported_base import PinnedReference, pin_reference
from runtime.build.plan import BuildPlan, ImageConfig
from runtime.oci.reference import Remote, parse_reference
from runtime.state_dir import state_dir
from runtime.store.records import Image
from runtime.store.store import Store


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser(
        "pull",
        "Fetch images from their registries into the store, and print their digests.",
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
        image = _pull(reference, parsed, store, quiet=options.quiet)
        if not options.quiet:
            render.say(f"{reference}: {render.size(sum(layer.size_bytes for layer in image.layers))}")
    return 0


def _pull(reference: str, parsed: Remote, store: Store, *, quiet: bool) -> Image:
    from launcher.cli.progress import build_progress
    from runtime.build.builder import build
    from runtime.registry.pull import shown_reference

    pinned = pin_reference(reference, state=state_dir(), environ=os.environ, refresh=True)
    for warning in () if quiet else pinned.warnings:
        render.warn(warning)
    plan = _plan_of(pinned)
    with nullcontext() if quiet else build_progress(plan) as observer:
        image = build(plan, store, observer=observer).image
    if parsed.digest is None:
        store.name_image(image, shown_reference(parsed))
    print(pinned.manifest_digest)
    return image


def _plan_of(pinned: PinnedReference) -> BuildPlan:
    return BuildPlan(steps=(pinned.step,), config=ImageConfig(env=pinned.env))
