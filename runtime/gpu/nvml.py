"""The only place of pynvml: one reading of every NVIDIA GPU, and NVML's refusals in plain sentences.

Called in a forked child with a time limit (`inventory.py`): a sick GPU can hang NVML in the kernel for minutes, and NVML makes
no promise about fork. One failing GPU or call never hides the others: each value is there, or None.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from runtime.errors import GpuError

_REFUSALS = {
    9: ("the NVIDIA kernel module is not loaded", "`modprobe nvidia`; in a virtual machine: is the GPU passed through?"),
    12: (
        "libnvidia-ml.so.1 was not found: no NVIDIA driver here",
        "install the driver, or name the library in LAUNCH_NVML_LIBRARY",
    ),
    18: (
        "the driver's library and its kernel module differ in version",
        "the driver was upgraded: reboot, or reload the nvidia modules",
    ),
    999: (
        "NVML answers `Unknown Error`",
        "device nodes may be forbidden here (a device cgroup): look at the permissions of /dev/nvidia*",
    ),
}


def read_all() -> list[dict[str, Any]]:
    """Every GPU as a JSON-able mapping (see `inventory.Gpu`). Raises GpuError when NVML does not come up."""
    return _of_each(_read_one)


def read_load() -> list[dict[str, Any]]:
    """What every GPU does now (see `inventory.read_load`)."""
    return _of_each(_load_of_one)


def _of_each(read: Callable[[Any, int], dict[str, Any]]) -> list[dict[str, Any]]:
    with opened() as pynvml:
        return [read(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]


@contextmanager
def opened() -> Iterator[Any]:
    """The module pynvml with NVML up, in this process: never before a fork. Raises GpuError when it does not come up."""
    import pynvml

    _preload()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        code = int(error.value)
        words, hint = _REFUSALS.get(code, (f"NVML refused to start with code {code}", None))
        raise GpuError(words, hint=hint) from None
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def _preload() -> None:
    """LAUNCH_NVML_LIBRARY: glibc takes an already loaded library with the right SONAME for the bare name pynvml asks for."""
    named = os.environ.get("LAUNCH_NVML_LIBRARY")
    if named:
        from runtime.kernel.libc import load_library

        load_library(named)


def _load_of_one(pynvml: Any, index: int) -> dict[str, Any]:
    load: dict[str, Any] = {"index": index, "uuid": None, "busy_percent": None, "used_bytes": None, "memory_bytes": None}
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        uuid = pynvml.nvmlDeviceGetUUID(handle)
        load["uuid"] = uuid.decode() if isinstance(uuid, bytes) else uuid
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        load |= {"used_bytes": int(memory.used), "memory_bytes": int(memory.total)}
        load["busy_percent"] = int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except (pynvml.NVMLError, AttributeError):  # MIG: no rate of use; what is known is told
        return load
    return load


def _read_one(pynvml: Any, index: int) -> dict[str, Any]:
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError as error:
        return {"index": index, "uuid": None, "trouble": f"NVML gives no handle: {error}"}

    def value(call: Callable[[], Any]) -> Any:
        try:
            found = call()
        except (pynvml.NVMLError, AttributeError):
            return None
        return found.decode() if isinstance(found, bytes) else found

    memory = value(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
    capability = value(lambda: pynvml.nvmlDeviceGetCudaComputeCapability(handle))
    pci = value(lambda: pynvml.nvmlDeviceGetPciInfo(handle))
    processes = value(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(handle)) or []
    return {
        "index": index,
        "uuid": value(lambda: pynvml.nvmlDeviceGetUUID(handle)),
        "minor": value(lambda: pynvml.nvmlDeviceGetMinorNumber(handle)),
        "model": value(lambda: pynvml.nvmlDeviceGetName(handle)),
        "memory_bytes": None if memory is None else int(memory.total),
        "capability": None if capability is None else f"{capability[0]}.{capability[1]}",
        "pci_bus_id": None if pci is None else (pci.busId.decode() if isinstance(pci.busId, bytes) else pci.busId),
        "pids": [int(process.pid) for process in processes],
        "driver": value(pynvml.nvmlSystemGetDriverVersion),
        "trouble": None,
    }
