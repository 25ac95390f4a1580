"""The bill of materials of its image with each run: it stays when the image is gone.

A new image has to be read for it (a tenth of a second). That happens beside the run, in a process that only the end of the record
waits for. An image that another run had before has one in the store.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from launcher.plan.images.recipe import SBOM
from runtime.kernel import processes
from runtime.oci.digest import Digest
from runtime.state_dir import RunDir
from runtime.store.store import Store
from runtime.whole_file import link_or_copy

_NICE = 19


@contextmanager
def bill_taken(run_dir: RunDir, image_digest: Digest, store: Store) -> Iterator[None]:
    """`RunDir.sbom` is there when the body is done. Called while this process has one thread."""
    if run_dir.sbom.exists() or _taken(run_dir, image_digest, store):
        yield
        return
    reader = processes.run_in_child(lambda: _read_image(run_dir, image_digest, store))
    try:
        yield
    finally:
        os.waitpid(reader, 0)


def _taken(run_dir: RunDir, image_digest: Digest, store: Store) -> bool:
    kept = store.attachment(image_digest, SBOM)
    try:
        if kept.stat().st_size == 0:
            return False
        link_or_copy(kept, run_dir.sbom)
    except FileNotFoundError:
        return False
    return True


def _read_image(run_dir: RunDir, image_digest: Digest, store: Store) -> None:
    """The life of the reader. A run is not worse for an image that can't be read: its words are in supervisor.log."""
    os.closerange(3, 1 << 16)  # the supervisor's lock, and what its tracker knows it by
    os.nice(_NICE)
    from launcher.plan.images.recipe import attach_bill

    attach_bill(store.image(image_digest), store)
    _taken(run_dir, image_digest, store)
