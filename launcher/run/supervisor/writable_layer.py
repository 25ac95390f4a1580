"""Where a container's writable layer lies: in the run's directory, or on the node where a shared file system cannot carry it.

On the node it is a directory of the user's scratch (`runtime.store.scratch`), announced by its path, and `RunDir.overlay` leads
to it. Supervisor and init lock it for as long as either lives; what both left is removed by the next who comes to that node.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from launcher.journal.run_journal import Journal
from launcher.run.supervisor.acquisitions import acquired
from runtime.container.lifecycle import remove_overlay
from runtime.rootfs.overlay_trial import why_no_writable_layer
from runtime.state_dir import RunDir


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
        remove_overlay(run_dir.overlay)
