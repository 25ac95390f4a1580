"""`launch push EXPERIMENT|IMAGE REF`: an image to a registry."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.cli import arguments as args
from launcher.cli.push.send import push_target, push_to
from launcher.cli.timings import Timings
from launcher.errors import ConfigError
from runtime.errors import StoreError
from runtime.registry.compress import Compression
from runtime.registry.known_places import place_name
from runtime.registry.push import Pushed
from runtime.state_dir import state_dir
from runtime.store.records import Image
from runtime.store.store import Store


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser(
        "push",
        "Push an image to a registry: what the registry has already is not sent again.",
        usage="(IMAGE | experiment=NAME [KEY=VALUE ...]) REF [--compression gzip|zstd|none] [--json]",
        epilog="IMAGE is a name, a digest prefix or an experiment; `experiment=NAME` builds what is missing first.\n"
        "REF is [HOST[:PORT]/]NAME[:TAG]; the tag is `latest` when none is given.",
    )
    parser.add_argument("words", nargs="+", metavar="IMAGE REF", help="the image, and where it goes")
    parser.add_argument(
        "--compression",
        choices=[each.value for each in Compression],
        help="of every layer (default: as the registry has the layer, or else gzip)",
    )
    parser.add_argument("--config-dir", type=Path, metavar="DIR", help="a directory in front of the configuration search path")
    parser.add_argument("--json", action="store_true", help="reference, manifest digest, layers and bytes sent as JSON on stdout")
    parser.add_argument("-q", "--quiet", action="store_true", help="nothing on stderr but errors")
    args.add_debug_options(parser)
    options = parser.parse_intermixed_args(arguments)
    args.apply_debug(options)
    if len(options.words) < 2:
        parser.error("`launch push` needs an image and where it goes")
    *source, where = options.words
    target = push_target(where)
    quiet = options.quiet or options.json
    store = Store(state_dir().store)
    image = _image(source, store, options.config_dir, quiet=quiet)
    compression = None if options.compression is None else Compression(options.compression)
    pushed = push_to(image, store, target, compression=compression, quiet=quiet)
    name = place_name(pushed.reference)
    if options.json:
        json.dump(_document(image, pushed, name), sys.stdout, indent=2)
        print()
    else:
        print(f"{name}@{pushed.digest}")
    return 0


def _image(source: Sequence[str], store: Store, config_dir: Path | None, *, quiet: bool) -> Image:
    """The image that the words before REF mean: one of the store, or an experiment's, built when it has to be."""
    from launcher.config.project import list_experiments

    if any("=" in word for word in source):
        return _built(source, config_dir, quiet=quiet)
    if len(source) > 1:
        raise ConfigError(f"`{' '.join(source)}` is more than one image", hint="`launch push IMAGE REF`")
    try:
        return store.image(source[0])
    except StoreError:
        experiments = list_experiments(config_dir=config_dir, cwd=Path.cwd(), environ=os.environ)
        if source[0] not in [found.name for found in experiments]:
            raise
    return _built([f"experiment={source[0]}"], config_dir, quiet=quiet)


def _built(overrides: Sequence[str], config_dir: Path | None, *, quiet: bool) -> Image:
    from launcher.cli.prepare import prepare_image

    if not any(override.lstrip("+").startswith("experiment=") for override in overrides):
        raise ConfigError("no experiment was chosen", hint="`launch push experiment=NAME REF`")
    request = args.Request(tuple(overrides), (), None, config_dir)
    return prepare_image(request, Timings(), quiet=quiet).image


def _document(image: Image, pushed: Pushed, name: str) -> dict[str, object]:
    return {
        "reference": name,
        "manifest_digest": str(pushed.digest),
        "image_digest": str(image.digest),
        "layers": [
            {
                "diff_id": str(layer.diff_id),
                "digest": str(layer.descriptor.digest),
                "media_type": layer.descriptor.media_type,
                "size_bytes": layer.descriptor.size,
                "how": layer.how.value,
            }
            for layer in pushed.layers
        ],
        "sent_bytes": pushed.sent_bytes,
        "seconds": pushed.seconds,
    }
