"""What a power cut may have done: a layer under a good name whose files the kernel had not yet written.

fsync for each of thousands of files costs more than the build, so a layer is published with a mark that names the boot it was
written in: `unsynced/<diff_id hex>`. `confirm` makes everything durable by one syncfs(2) and takes the marks away. A mark of an
earlier boot means that the machine went down before: such a layer is read and compared with its digest once, then trusted or
thrown away. kill -9 alone needs none of this: what a process wrote is the kernel's.

Nor is there an fsync for the small records (keys, plans, images, names, attachments): on a disk that is busy with what others
wrote it takes seconds, and whoever launches would wait. An empty one counts as none, and is made again.
"""

from __future__ import annotations

import os
from pathlib import Path

from runtime.errors import StoreError
from runtime.oci.digest import Digest
from runtime.store.records import MARKS

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def boot_id() -> str:
    """A name for the time between two boots."""
    with open(_BOOT_ID) as file:
        return file.read().strip()


def mark(store: Path, diff_id: Digest) -> None:
    """Note that the layer is about to get its name in this boot."""
    (store / MARKS / diff_id.hex).write_text(boot_id())


def suspects(store: str) -> frozenset[str]:
    """diff_ids (hex) of layers whose mark is of an earlier boot. One directory is read, usually an empty one."""
    try:
        names = os.listdir(f"{store}/{MARKS}")
    except FileNotFoundError:
        return frozenset()
    if not names:
        return frozenset()
    now = boot_id()
    return frozenset(name for name in names if _marked_boot(f"{store}/{MARKS}/{name}") not in (now, None))


def _marked_boot(path: str) -> str | None:
    """The boot that a mark names; an empty one, itself cut off, names none that is now. None: the mark is gone."""
    try:
        with open(path) as file:
            return file.read().strip()
    except FileNotFoundError:
        return None


def is_whole(store: Path, diff_id: Digest) -> bool:
    """Whether the suspect layer has its digest. If so its mark goes, else the layer does."""
    from runtime.store.layer_on_disk import damage_of, remove_layer

    whole = damage_of(store, diff_id) is None
    if not whole:
        remove_layer(store, diff_id)
    (store / MARKS / diff_id.hex).unlink(missing_ok=True)
    return whole


def confirm(store: Path) -> int:
    """Make what is published durable. Returns how many layers that concerned; costs nothing when there is none."""
    try:
        names = os.listdir(store / MARKS)
    except FileNotFoundError:
        return 0
    now = boot_id()
    fresh = [name for name in names if _marked_boot(os.fspath(store / MARKS / name)) == now]
    if not fresh:
        return 0
    from runtime.kernel import libc

    descriptor = os.open(store, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        libc.syncfs(descriptor)
    except OSError as error:
        raise StoreError(f"cannot write the store `{store}` to its disk: {error}") from error
    finally:
        os.close(descriptor)
    for name in fresh:
        (store / MARKS / name).unlink(missing_ok=True)
    return len(fresh)
