"""`USER[:GROUP]` of a Dockerfile or an image as numbers, looked up in the image's layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from runtime.build.layers_below import LayersBelow
from runtime.errors import BuildError
from runtime.rootfs.accounts import Accounts, UnknownName, User


def resolve_user(user: str, layers: Sequence[Path]) -> User:
    """*user*, as USER and `docker run --user` take it, in the image of *layers* (`Store.layer_dir`, bottom first); "" is root.

    Raises BuildError for a name that the image doesn't have.
    """
    with _explaining():
        return Accounts(LayersBelow(layers).read).user(user)


def resolve_owner(owner: str, below: LayersBelow) -> tuple[int, int]:
    """uid and gid of *owner*, as `--chown` takes it; "" is 0:0. Raises BuildError for a name that the layers don't have."""
    with _explaining():
        return Accounts(below.read).owner(owner)


@contextmanager
def _explaining() -> Iterator[None]:
    try:
        yield
    except UnknownName as error:
        raise BuildError(
            f"the image has no {error}", hint="make it before it is used (`RUN useradd …`), or give numbers"
        ) from None
