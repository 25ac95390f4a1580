"""Which GPUs this machine has: NVIDIA's through NVML, AMD's through /sys. Who may use them is `leases/lease.py`.

One GPU that is sick, or hangs whoever asks it, hides no other: each is a message of its own from the process that reads, and
when that falls silent, those that are missing are read each in a process of their own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from runtime.errors import GpuError
from runtime.gpu import amd
from runtime.gpu.gpu import Gpu
from runtime.gpu.nvidia.describe import describe_gpus, describe_unreadable_gpus
from runtime.gpu.roots import Roots
from runtime.gpu.side_process import Asked, Tell, ask, listen
from runtime.gpu.visible_devices import visible_gpus

NVML_PATIENCE_S = 20.0
"""How long whoever asks NVML may be silent. Without persistence mode the first look at a GPU takes a second or two."""
_HANG_REMEMBERED_S = 60.0

_hanging: dict[tuple[Roots, int], float] = {}
"""A GPU that hung, by its number → until when this process doesn't try it again."""


def has_driver(roots: Roots | None = None) -> bool:
    """Whether an NVIDIA driver shows itself: without one, NVML is not asked at all (and pynvml not imported)."""
    named = os.environ.get("LAUNCH_NVML_LIBRARY")
    roots = roots or Roots.of_this_machine()
    return bool(named) or (roots.proc / "proc/driver/nvidia").exists() or (roots.dev / "dev/nvidiactl").exists()


def read_gpus(*, timeout_s: float = NVML_PATIENCE_S, roots: Roots | None = None) -> tuple[Gpu, ...]:
    """The GPUs that are ours to use: all of this machine, or what CUDA_VISIBLE_DEVICES leaves of them. Raises GpuError when
    NVML does not come up."""
    return visible_gpus(read_all_gpus(timeout_s=timeout_s, roots=roots), os.environ)


def read_all_gpus(*, timeout_s: float = NVML_PATIENCE_S, roots: Roots | None = None) -> tuple[Gpu, ...]:
    """Every GPU of this machine, the NVIDIA ones first. *timeout_s*: how long a GPU may let us wait. Raises GpuError when NVML
    does not come up and there are no GPUs but NVIDIA's."""
    roots = roots or Roots.of_this_machine()
    try:
        nvidia, refusal = _nvidia_gpus(timeout_s, roots), None
    except GpuError as error:
        nvidia, refusal = describe_unreadable_gpus(error.message, roots), error
    others = amd.read_amd_gpus(roots, first_index=len(nvidia))
    if refusal is not None and not others:
        raise refusal
    return (*nvidia, *others)


def read_load(*, timeout_s: float = NVML_PATIENCE_S) -> tuple[dict[str, Any], ...]:
    """What each GPU, and each slice of one, does now: `index`, `uuid`, `busy_percent`, `used_bytes`, `memory_bytes`, `power_w`,
    `temperature_c`; a value that is not told, or of the whole GPU only, is None. Raises GpuError."""
    return tuple(load for gpu in read_all_gpus(timeout_s=timeout_s) for load in _loads(gpu))


def _loads(gpu: Gpu) -> Iterator[dict[str, Any]]:
    measured = {"used_bytes": gpu.used_bytes, "memory_bytes": gpu.memory_bytes}
    of_card = {"power_w": gpu.power_w, "temperature_c": gpu.temperature_c}
    yield {"index": gpu.index, "uuid": gpu.uuid, "busy_percent": gpu.busy_percent, **measured, **of_card}
    for one in gpu.mig:
        measured = {"used_bytes": one.used_bytes, "memory_bytes": one.memory_bytes}
        yield {"index": f"{gpu.index}:{one.index}", "uuid": one.uuid, "busy_percent": None, **measured}


def _nvidia_gpus(timeout_s: float, roots: Roots) -> tuple[Gpu, ...]:
    if not has_driver(roots):
        return ()
    from runtime.gpu.nvidia import nvml

    nvml.import_before_fork()
    skipped = {index for (where, index), until in _hanging.items() if where == roots and time.monotonic() < until}
    first = ask(lambda tell: _tell_everything(tell, roots, skipped))
    listen([first], patience_s=timeout_s)
    if not first.messages:
        _check(first, timeout_s)
    machine, *read = first.messages
    facts = {one["index"]: one for one in read}
    missing = [index for index in range(machine["count"]) if index not in facts and index not in skipped]
    if first.silent and missing:
        skipped.add(missing[0])  # what it hung on
        _hanging[roots, missing.pop(0)] = time.monotonic() + _HANG_REMEMBERED_S
    facts |= _read_one_by_one(missing, machine, timeout_s, roots)
    facts |= {index: _silent(index, timeout_s) for index in skipped if index < machine["count"]}
    return describe_gpus([facts[index] for index in sorted(facts)], machine, roots)


def _tell_everything(tell: Tell, roots: Roots, skipped: Collection[int]) -> None:
    """The machine, then each GPU as soon as it has answered."""
    from runtime.gpu.nvidia import device_reading, nvml

    with nvml.open_nvml(roots) as library:
        machine = device_reading.read_machine(library)
        tell(machine)
        for index in range(machine["count"]):
            if index not in skipped:
                tell(device_reading.read_device(library, index, driver=machine["driver"]))


def _read_one_by_one(
    indexes: Sequence[int], machine: dict[str, Any], timeout_s: float, roots: Roots
) -> dict[int, dict[str, Any]]:
    """Facts of the GPUs that the first reading never came to, or hung on."""

    def question(index: int) -> Callable[[Tell], None]:
        return lambda tell: _tell_one(tell, index, machine["driver"], roots)

    asked = {index: ask(question(index)) for index in indexes}
    listen(list(asked.values()), patience_s=timeout_s)
    return {index: _facts_of(index, one, timeout_s, roots) for index, one in asked.items()}


def _tell_one(tell: Tell, index: int, driver: str | None, roots: Roots) -> None:
    from runtime.gpu.nvidia import device_reading, nvml

    with nvml.open_nvml(roots) as library:
        tell(device_reading.read_device(library, index, driver=driver))


def _facts_of(index: int, asked: Asked, timeout_s: float, roots: Roots) -> dict[str, Any]:
    if asked.messages:
        return asked.messages[0]
    if asked.silent:
        _hanging[roots, index] = time.monotonic() + _HANG_REMEMBERED_S
        return _silent(index, timeout_s)
    reason = asked.error["error"] if asked.error else "the process that asked for it died"
    return {"index": index, "has_handle": False, "codes": [], "reason": reason}


def _silent(index: int, timeout_s: float) -> dict[str, Any]:
    words = f"it hangs: the driver did not answer for it within {timeout_s:g} s (the kernel log tells more)"
    return {"index": index, "trouble": words}


def _check(asked: Asked, timeout_s: float) -> None:
    if asked.error is not None:
        raise GpuError(asked.error["error"], hint=asked.error.get("hint"))
    if asked.silent:
        raise GpuError(
            f"NVML did not answer within {timeout_s:g} s", hint="a GPU may hang: `nvidia-smi` and the kernel log tell more"
        )
    if asked.incomplete:
        raise GpuError("the process that asked NVML died", hint="`nvidia-smi` tells more")
