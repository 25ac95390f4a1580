"""An image under a name to the registry that the name says: `launch push` and `launch build --push`."""

from __future__ import annotations

from launcher.cli.push.progress import push_progress
from launcher.errors import ConfigError, Origin
from runtime.errors import BadContent
from runtime.oci.reference import Remote, parse_reference
from runtime.registry.compress import Compression
from runtime.registry.push import Pushed, push_image
from runtime.store.records import Image
from runtime.store.store import Store


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


def push_to(image: Image, store: Store, target: Remote, *, compression: Compression | None, quiet: bool) -> Pushed:
    """*image* at *target*, with a line for each layer that was sent unless *quiet*."""
    with push_progress(quiet=quiet) as observer:
        return push_image(image, store, target, compression=compression, observer=observer)
