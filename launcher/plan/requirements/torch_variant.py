"""`image.cuda: auto`: which build of torch this machine's driver and GPUs run.

uv knows which driver runs which CUDA, and tries the newest first; it is told our driver, so that both look at the same one. Old
GPUs are what it doesn't know about: builds for CUDA 13 have no code for Volta, those for 12.8 none for Pascal. A build that comes
from a directory or an index of one's own, where uv does not choose, is passed over when it can't run here.
"""

from __future__ import annotations

import re

from launcher.plan.gpus.gpu_fit import FLOORS, TorchBuild
from runtime.gpu.nvidia.requirements import version
from runtime.light_dataclasses import dataclass

_TURING, _VOLTA = 7.5, 7.0
_BEFORE_CUDA_13 = "579"
_FOR_PASCAL = "cu126"
_VARIANT = re.compile(r"cu(\d+)(\d)")


@dataclass(frozen=True, slots=True)
class CudaMachine:
    """What `auto` looks at."""

    driver: str | None = None
    """None: no NVIDIA driver."""
    capability: float | None = None
    """The lowest of its GPUs."""

    @property
    def backend(self) -> str:
        """uv's word for the variant: one that it can't find out itself, or `auto`."""
        if self.driver is not None and self.capability is not None and self.capability < _VOLTA and self._branch >= FLOORS[12]:
            return _FOR_PASCAL
        return "auto"

    @property
    def driver_for_uv(self) -> str | None:
        """The driver that uv is told: an older one where the GPUs are too old for what the driver could run."""
        if self.capability is not None and self.capability < _TURING and self._branch >= FLOORS[13]:
            return _BEFORE_CUDA_13
        return self.driver

    def runs(self, variant: str) -> bool:
        """Whether a torch of *variant* (`cpu`, `cu128`) uses our GPUs. Without a driver every build runs on the CPU."""
        found = _VARIANT.fullmatch(variant)
        if self.driver is None or found is None:
            return True
        cuda = (int(found[1]), int(found[2]))
        capability = None if self.capability is None else str(self.capability)
        return self._branch >= FLOORS.get(cuda[0], 0) and TorchBuild("", cuda).has_code_for(capability)

    @property
    def _branch(self) -> int:
        return version(self.driver)[0] if self.driver else 0


def cuda_machine() -> CudaMachine:
    """The driver that is loaded and the GPUs that it drives; without a driver nothing is asked."""
    from runtime.gpu.nvidia.proc_driver import module_version
    from runtime.gpu.roots import Roots

    driver = module_version(Roots.of_this_machine())
    if driver is None:
        return CudaMachine()
    from runtime.errors import GpuError
    from runtime.gpu.inventory import read_gpus

    try:
        known = [float(gpu.capability) for gpu in read_gpus() if gpu.capability is not None and gpu.vendor == "nvidia"]
    except GpuError:  # what is wrong is said where GPUs are asked for; a lock can be made nevertheless
        known = []
    return CudaMachine(driver, min(known, default=None))
