"""`launch images sbom IMAGE`: the software in an image, as CycloneDX JSON on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.plan.images.recipe import SBOM
from runtime.state_dir import state_dir
from runtime.store.store import Store


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("images sbom", "Print the software in an image as CycloneDX JSON.", usage="IMAGE")
    parser.add_argument("image", metavar="IMAGE", help="a digest prefix, a name or an experiment")
    parser.add_argument("--json", action="store_true", help="the default: it is always JSON")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    store = Store(state_dir().store)
    image = store.image(options.image)
    content = store.attached(image, SBOM)
    if content is None:
        # An image that was imported as it is, or built before bills were kept: what is in it can still be read.
        from launcher.plan.images.image_facts import names_of
        from launcher.plan.images.recipe import sbom_from_recipe

        document = sbom_from_recipe(image, store, name=next(iter(names_of(image, store)), image.digest.short))
    else:
        document = json.loads(content)
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False)
    print()
    return 0
