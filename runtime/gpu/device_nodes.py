"""Which NVIDIA GPUs this machine has, as far as device files and /proc tell: no library is loaded.

`/proc/driver/nvidia/gpus/<pci address>` exists for each GPU that the kernel module drives; `/dev/nvidia<minor>` is what a
program opens. A container sees only its own nodes but the host's /proc, so the nodes decide and /proc is the second witness.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_NODE = re.compile(r"nvidia\d+")
_VERSION = re.compile(r"\b(\d{3,}(?:\.\d+)+)\b")


def count_gpus(root: Path = Path("/")) -> int:
    """GPUs whose device node is here. 0 when the driver is not loaded."""
    if driver_version(root) is None:
        return 0
    return len(device_minors(root))


def device_minors(root: Path = Path("/")) -> tuple[int, ...]:
    """Minor numbers of the `/dev/nvidia<minor>` nodes, sorted. Neither NVML's order nor CUDA's."""
    try:
        names = os.listdir(root / "dev")
    except FileNotFoundError:
        return ()
    return tuple(sorted(int(name.removeprefix("nvidia")) for name in names if _NODE.fullmatch(name)))


def driver_version(root: Path = Path("/")) -> str | None:
    """Version of the loaded kernel module, `580.95.05`; None when there is none."""
    try:
        text = (root / "proc/driver/nvidia/version").read_text()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    # "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 …"; open modules put more words in between.
    found = _VERSION.search(text.splitlines()[0]) if text else None
    return found[1] if found else None
