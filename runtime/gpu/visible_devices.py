"""The GPUs that somebody left us: what CUDA_VISIBLE_DEVICES (a shell, Slurm) or ROCR_VISIBLE_DEVICES allows is all that we use.

Read as CUDA reads it (Programming Guide, "Environment Variables"): UUIDs, the beginnings of some, or numbers, up to the first
that means nothing. CUDA counts the GPUs whose nodes it can open, sick ones too, the fastest first unless
CUDA_DEVICE_ORDER=PCI_BUS_ID: a number is clear where that is set, or where all GPUs are of one model, and up to the first GPU of
which nobody can tell whether CUDA counts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runtime.errors import GpuError
from runtime.gpu.gpu import Gpu
from runtime.light_dataclasses import replace

_VARIABLES = {"nvidia": ("CUDA_VISIBLE_DEVICES",), "amd": ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")}


def visible_gpus(gpus: Sequence[Gpu], environ: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Those of *gpus* that *environ* leaves us, in their order. Raises GpuError where that can't be known."""
    return tuple(gpu for vendor, names in _VARIABLES.items() for gpu in _of_vendor(gpus, vendor, names, environ))


def restriction(environ: Mapping[str, str]) -> str | None:
    """What leaves only some GPUs to us, as it is written: `CUDA_VISIBLE_DEVICES=0,1`; None when nothing does."""
    said = [f"{name}={environ[name]}" for names in _VARIABLES.values() for name in names if name in environ]
    return " ".join(said) or None


def _of_vendor(gpus: Sequence[Gpu], vendor: str, names: Sequence[str], environ: Mapping[str, str]) -> Sequence[Gpu]:
    ours = [gpu for gpu in gpus if gpu.vendor == vendor]
    for name in names:
        if name in environ and ours:
            ours = _select(ours, name, environ)
    return ours


def _select(gpus: Sequence[Gpu], name: str, environ: Mapping[str, str]) -> list[Gpu]:
    countable = [gpu for gpu in gpus if gpu.counted is not False]
    whole: set[str | None] = set()
    slices: set[str] = set()
    for word in (word.strip() for word in environ[name].split(",")):
        if word.isdigit():
            _check_order(countable, name, environ)
            _check_known(countable[: int(word) + 1], name, environ)
            if int(word) >= len(countable):
                break
            whole.add(countable[int(word)].uuid)
        elif word.startswith("MIG-"):
            slices |= {one.uuid for gpu in gpus for one in gpu.mig if one.uuid.startswith(word)}
        else:
            meant = [gpu.uuid for gpu in gpus if word and gpu.uuid and gpu.uuid.startswith(word)]
            if len(meant) != 1:
                break
            whole.add(meant[0])
    return [left for left in (_left_of(gpu, whole, slices) for gpu in gpus) if left is not None]


def _left_of(gpu: Gpu, whole: set[str | None], slices: set[str]) -> Gpu | None:
    if gpu.uuid in whole:
        return gpu
    mine = tuple(one for one in gpu.mig if one.uuid in slices)
    return replace(gpu, mig=mine) if mine else None


def _check_order(gpus: Sequence[Gpu], name: str, environ: Mapping[str, str]) -> None:
    if (
        len({gpu.model for gpu in gpus}) > 1
        and name == "CUDA_VISIBLE_DEVICES"
        and environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID"
    ):
        raise GpuError(
            f"which GPUs `{name}={environ[name]}` means is not clear: CUDA counts the fastest first, and the models differ",
            hint=f"name them by UUID in {name} (`launch gpus --json` has them), or set CUDA_DEVICE_ORDER=PCI_BUS_ID",
        )


def _check_known(gpus: Sequence[Gpu], name: str, environ: Mapping[str, str]) -> None:
    """A GPU that is lost may be left out of the count: the next one would be somebody else's."""
    unknown = next((gpu for gpu in gpus if gpu.counted is None), None)
    if unknown is not None:
        raise GpuError(
            f"which GPUs `{name}={environ[name]}` means is not clear: CUDA may count GPU {unknown.index} or not: "
            f"{unknown.trouble}",
            hint=f"name them by UUID in {name} (`launch gpus --json` has them)",
        )
