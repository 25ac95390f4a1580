"""`launch images rm IMAGE …`: take images and their names out of the store; and the pins that keep them in it."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli import render
from launcher.errors import ConfigError
from launcher.run.images_in_use import images_in_use
from runtime.state_dir import state_dir
from runtime.store.garbage import remove_image
from runtime.store.in_use import pin, unpin
from runtime.store.store import Store


def remove_images(references: Sequence[str]) -> int:
    state = state_dir()
    store = Store(state.store)
    images = [store.image(reference) for reference in references]
    runs = images_in_use(state)
    for image in images:
        if image.digest in runs:
            raise ConfigError(f"run `{runs[image.digest]}` uses image `{image.digest.short}`", hint="`launch stop` ends a run")
    for image in images:
        remove_image(store, image)
        print(image.digest.short)
    return 0


def pin_images(references: Sequence[str]) -> int:
    store = Store(state_dir().store)
    for image in [store.image(reference) for reference in references]:
        pin(store, image)
        print(image.digest.short)
    return 0


def unpin_images(references: Sequence[str]) -> int:
    store = Store(state_dir().store)
    for image in [store.image(reference) for reference in references]:
        if not unpin(store, image):
            render.say(f"image `{image.digest.short}` was not pinned")
        print(image.digest.short)
    return 0
