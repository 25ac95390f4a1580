"""What AMD's GPUs do now, out of /sys: what `load.py` says of NVIDIA's, as far as amdgpu tells. Nothing of it hangs for long."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.gpu.amd import read_amd_gpus
from runtime.gpu.gpu import Gpu
from runtime.gpu.load import GpuLoad
from runtime.gpu.roots import Roots

_NOT_TOLD = "amdgpu doesn't tell"


class AmdLoadReader:
    """Reads *uuids* again and again, in ROCm's order."""

    def __init__(self, roots: Roots, uuids: Sequence[str]) -> None:
        self._roots = roots
        here = [gpu.uuid for gpu in read_amd_gpus(roots) if gpu.uuid in uuids]
        self.uuids = (*filter(None, here), *(uuid for uuid in uuids if uuid not in here))

    def read(self) -> tuple[GpuLoad, ...]:
        here = {gpu.uuid: gpu for gpu in read_amd_gpus(self._roots)}
        return tuple(_load(uuid, here.get(uuid)) for uuid in self.uuids)


def are_amds(uuids: Sequence[str], roots: Roots) -> bool:
    """Whether *uuids* name GPUs of AMD: a lease has one vendor."""
    return any(gpu.uuid in uuids for gpu in read_amd_gpus(roots))


def _load(uuid: str, gpu: Gpu | None) -> GpuLoad:
    if gpu is None:
        return GpuLoad(uuid, lost=True, missing={"device": "amdgpu doesn't list it any more"})
    values = {
        "busy_percent": gpu.busy_percent,
        "used_bytes": gpu.used_bytes,
        "power_w": gpu.power_w,
        "temperature_c": gpu.temperature_c,
    }
    missing = {name: _NOT_TOLD for name, value in values.items() if value is None}
    return GpuLoad(uuid, **values, memory_bytes=gpu.memory_bytes, pids=gpu.pids, missing=missing)  # type: ignore[arg-type]
