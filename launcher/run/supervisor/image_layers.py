"""Where a container's layers are read from: the store of LAUNCH_HOME, or copies on the node (`cluster.node_store`)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.config.spec import Cluster
from launcher.journal.status import Reason
from launcher.run.supervisor.attempt import CancelledInQueue
from launcher.run.supervisor.signal_inbox import REQUESTS, SignalInbox
from runtime.errors import RuntimeFailure
from runtime.store.records import Image
from runtime.store.store import Store

if TYPE_CHECKING:
    from runtime.store.in_use import HeldImage


@dataclass(frozen=True, slots=True)
class ImageLayers:
    """Directories, bottom first; the copies among them stay for as long as this, or one of its *fds*, does."""

    directories: tuple[Path, ...]
    held: HeldImage | None = None

    @property
    def fds(self) -> tuple[int, ...]:
        """For init, which may outlive its supervisor."""
        return () if self.held is None else (self.held.fileno(),)


def image_layers(image: Image, store: Store, cluster: Cluster, *, inbox: SignalInbox, note: Callable[[str], None]) -> ImageLayers:
    """The layers of *image*, which *store* has. Copies missing ones to the node first; *note* hears of that, and why one could
    not be copied. Raises CancelledInQueue when a signal comes meanwhile."""
    shared = ImageLayers(tuple(map(store.layer_dir, image.layers)))
    if cluster.node_store is None:
        return shared
    from runtime.store.node_store import copy_layers_here, node_store

    def go_on() -> None:
        for request in inbox.read():
            raise CancelledInQueue(REQUESTS.get(request, Reason.STOPPED))

    try:
        node = node_store(cluster.node_store, os.environ)
    except RuntimeFailure as failure:
        note(f"the image's layers are read from `{store.root}`, `cluster.node_store` cannot be used: {failure.message}")
        return shared
    here = copy_layers_here(image, store, node, max_bytes=cluster.node_store_size, tell=note, go_on=go_on)
    if here.trouble is not None:
        note(f"{here.trouble}; what is not there is read from `{store.root}`")
    return ImageLayers(here.directories, here.held)
