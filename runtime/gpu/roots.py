"""Where the GPU driver's files, device nodes, /proc and /sys are looked for: `/`, unless somebody says otherwise.

A containerised driver lies elsewhere (`LAUNCH_DRIVER_ROOT=/run/nvidia/driver`); tests put a machine's GPUs
below one directory.
"""

from __future__ import annotations

import os
from pathlib import Path

from runtime.light_dataclasses import dataclass

_HERE = Path("/")


@dataclass(frozen=True, slots=True)
class Roots:
    """Four directories that stand for `/`."""

    driver: Path = _HERE
    """Libraries, programs, firmware and configuration of the driver."""
    dev: Path = _HERE
    """The directory that holds `dev`."""
    proc: Path = _HERE
    """The directory that holds `proc`."""
    sys: Path = _HERE
    """The directory that holds `sys`."""

    @classmethod
    def of_this_machine(cls) -> Roots:
        """As `LAUNCH_DRIVER_ROOT`, `LAUNCH_DEV_ROOT`, `LAUNCH_PROC_ROOT` and `LAUNCH_SYS_ROOT` say."""
        return cls(*(Path(os.environ.get(f"LAUNCH_{name}_ROOT") or _HERE) for name in ("DRIVER", "DEV", "PROC", "SYS")))
