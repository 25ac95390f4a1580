"""Names below a store's root that several files here share. What lies where stands in `store.py`."""

from __future__ import annotations

MARKS = "unsynced"
"""One file a layer that may not have reached the disk; it names the boot that wrote the layer."""

BUILDING = ".building"
"""A lock: held shared by builders, exclusively while garbage is collected."""
