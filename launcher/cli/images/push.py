"""`launch push EXPERIMENT|IMAGE REF`, `launch build --push`: an image under a name to the registry that the name says."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from launcher.cli import render
from launcher.cli.arguments import Request, Talk, names_experiment
from launcher.cli.command import Options
from launcher.cli.images.push_progress import push_progress
from launcher.cli.timings import Timings
from launcher.errors import ConfigError, Origin
from runtime.errors import BadContent, StoreError
from runtime.oci.reference import Remote, parse_reference
from runtime.registry import push as registry_push
from runtime.registry.compress import Compression
from runtime.registry.known_places import place_name
from runtime.registry.push import Pushed
from runtime.state_dir import state_dir
from runtime.store.records import Image
from runtime.store.store import Store


def push_image(options: Options) -> int:
    *source, where = options.words
    target = push_target(where)
    talk = Talk.of(options, quiet=options.json)
    store = Store(state_dir().store)
    image = _image(source, store, options.config_dir, talk)
    compression = None if options.compression is None else Compression(options.compression)
    pushed = push_to(image, store, target, talk, compression=compression)
    name = place_name(pushed.reference)
    if options.json:
        render.print_json(_document(image, pushed, name))
    else:
        print(f"{name}@{pushed.digest}")
    return 0


def push_target(text: str) -> Remote:
    """Where *text* says that an image goes. Raises ConfigError when that is no place in a registry."""
    origin = Origin(override=text)
    try:
        reference = parse_reference(text)
    except BadContent as error:
        raise ConfigError(error.message, hint=error.hint, origin=origin) from error
    if not isinstance(reference, Remote):
        raise ConfigError(
            f"`{text}` is not in a registry", hint="`launch save` writes an image to a file or directory", origin=origin
        )
    if reference.digest is not None:
        raise ConfigError(
            "an image cannot be pushed under a digest that is chosen beforehand",
            hint=f"leave the digest out: `{text.partition('@')[0]}`; the registry's digest is printed",
            origin=origin,
        )
    return reference


def push_to(image: Image, store: Store, target: Remote, talk: Talk, *, compression: Compression | None) -> Pushed:
    """*image* at *target*, with a line for each layer that was sent unless it is quiet."""
    with push_progress(talk) as observer:
        return registry_push.push_image(image, store, target, compression=compression, observer=observer)


def _image(source: Sequence[str], store: Store, config_dir: Path | None, talk: Talk) -> Image:
    """The image that the words before REF mean: one of the store, or an experiment's, built when it has to be."""
    from launcher.config.project import list_experiments

    if any("=" in word for word in source):
        return _built(source, config_dir, talk)
    if len(source) > 1:
        raise ConfigError(f"`{' '.join(source)}` is more than one image", hint="`launch push IMAGE REF`")
    try:
        return store.image(source[0])
    except StoreError:
        experiments = list_experiments(config_dir=config_dir, cwd=Path.cwd(), environ=os.environ)
        if source[0] not in [each.name for each in experiments]:
            raise
    return _built([f"experiment={source[0]}"], config_dir, talk)


def _built(overrides: Sequence[str], config_dir: Path | None, talk: Talk) -> Image:
    from launcher.cli.prepare import prepare_image

    if not names_experiment(overrides):
        raise ConfigError("no experiment was chosen", hint="`launch push experiment=NAME REF`")
    request = Request(tuple(overrides), (), None, config_dir)
    return prepare_image(request, Timings(), talk=talk).image


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
