"""Where a container's layers lie.

Those of its image: in the store of LAUNCH_HOME, or as copies on the node (`cluster.node_store`). The writable one: in the run's
directory, or on the node where a shared file system cannot carry it. There it is a directory of the user's scratch
(`runtime.store.scratch`), announced by its path, and `RunDir.overlay` leads to it. Supervisor and init lock it for as long as
either lives; what both left is removed by the next who comes to that node.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.config.spec import Cluster
from launcher.journal.run_journal import Journal
from launcher.journal.status import Reason
from launcher.run.supervisor.acquisitions import UNDO, acquired
from launcher.run.supervisor.attempt import CancelledInQueue
from launcher.run.supervisor.signal_inbox import REQUESTS, SignalInbox
from runtime.errors import RuntimeFailure
from runtime.light_dataclasses import dataclass
from runtime.rootfs.overlay_trial import why_no_writable_layer
from runtime.state_dir import RunDir
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


@contextmanager
def writable_layer(run_dir: RunDir, journal: Journal, *, scratch: str | None) -> Iterator[tuple[int, ...]]:
    """Give the run a place for its container's writable layer, which goes away at the end; on *scratch* where one is named.
    Yields descriptors that init has to hold."""
    _forget_earlier(run_dir)
    if scratch is None and why_no_writable_layer(run_dir.root) is None:
        with acquired(run_dir, journal, "overlay", run_dir.run_id):
            yield ()
        return
    from runtime.store.scratch import swept_scratch
    from runtime.store.staging import locked_directory

    place = swept_scratch(os.environ, named=scratch)
    path = place / f"{run_dir.run_id}-{os.urandom(4).hex()}"
    with ExitStack() as held:  # locked until it is gone
        with acquired(run_dir, journal, "scratch", str(path)):
            descriptor, _ = locked_directory(place, path.name)
            held.callback(os.close, descriptor)
            run_dir.overlay.symlink_to(path)
            yield (descriptor,)


def _forget_earlier(run_dir: RunDir) -> None:
    """An attempt that was killed with its node could not take its directory, or the link to it, away."""
    if run_dir.overlay.is_symlink():
        run_dir.overlay.unlink()
    elif run_dir.overlay.exists():
        UNDO["overlay"](run_dir, run_dir.run_id)
