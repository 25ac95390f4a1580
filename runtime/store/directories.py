"""Names below a store's root that several files here share. What lies where stands in `store.py`."""

from __future__ import annotations

MARKS = "unsynced"
"""One file a layer that may not have reached the disk; it names the boot that wrote the layer."""

GATE = ".gate"
"""A lock: held shared for the moment in which something gets its name or is taken into use, and exclusively while garbage loses
its names. Neither lasts longer than a look through the store."""

PINS = "pins"
"""One empty file an image that somebody said must stay."""
