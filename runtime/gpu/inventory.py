"""Which GPUs this machine has, as values. Reading them is `nvml.py`; who may use them is `lease.py`."""

from __future__ import annotations

import json
import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import GpuError, RuntimeFailure

NVML_PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class MigInstance:
    """One slice of a GPU in MIG mode. Its UUID is what CUDA and a lease name."""

    uuid: str
    gpu_instance: int
    compute_instance: int
    profile: str | None = None
    """`1g.10gb`."""
    memory_bytes: int | None = None
    index: int = 0
    """NVML's; there may be holes."""


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process with a context on a GPU. *pid* is the host's."""

    pid: int
    used_bytes: int | None = None
    """None where the driver does not tell (another user's, a container of somebody else's)."""
    kind: str = "compute"
    """`compute`, `graphics` or `mps`."""
    mig: str | None = None
    """UUID of the MIG instance that it is on."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU. Identity is the UUID: NVML counts in PCI order, CUDA fastest first, device nodes by minor."""

    index: int
    uuid: str | None
    minor: int | None = None
    model: str | None = None
    memory_bytes: int | None = None
    capability: str | None = None
    """CUDA compute capability, `9.0`."""
    pci_bus_id: str | None = None
    pids: tuple[int, ...] = ()
    """Host pids with a compute context now."""
    driver: str | None = None
    trouble: str | None = None
    """Why it can't be used; None when healthy."""
    vendor: str = "nvidia"
    """`nvidia` or `amd`."""
    brand: str | None = None
    """`GeForce`, `Tesla`, …: what the driver calls the product line."""
    cuda: tuple[int, int] | None = None
    """The newest CUDA that the driver runs: `(13, 0)`."""
    used_bytes: int | None = None
    """Memory in use, without the driver's own reserve where it tells them apart."""
    numa_node: int | None = None
    """The host's NUMA node at whose PCIe the GPU is."""
    cpus: str | None = None
    """The CPUs near it, as the kernel lists them: `0-31,64-95`."""
    mig: tuple[MigInstance, ...] = ()
    mig_enabled: bool = False
    processes: tuple[GpuProcess, ...] = ()
    warnings: tuple[str, ...] = ()
    """Usable, but: throttled, ECC off, a remap pending, …"""
    render_nodes: tuple[str, ...] = ()
    """`/dev/dri/card0`, `/dev/dri/renderD128`."""


def has_driver(root: Path = Path("/")) -> bool:
    """Whether an NVIDIA driver shows itself: without one, NVML is not asked at all (and pynvml not imported)."""
    named = os.environ.get("LAUNCH_NVML_LIBRARY")
    return bool(named) or (root / "proc/driver/nvidia").exists() or (root / "dev/nvidiactl").exists()


def read_gpus(*, timeout_s: float = NVML_PATIENCE_S) -> tuple[Gpu, ...]:
    """Every GPU, read in a forked child within *timeout_s*. Raises GpuError when NVML refuses or hangs."""
    if not has_driver():
        return ()
    answer = _ask_a_child(timeout_s)
    if "error" in answer:
        raise GpuError(answer["error"], hint=answer.get("hint"))
    return tuple(Gpu(**{**fields, "pids": tuple(fields.get("pids", ()))}) for fields in answer["gpus"])


def read_load(*, timeout_s: float = NVML_PATIENCE_S) -> tuple[dict[str, Any], ...]:
    """What each GPU does now: `index`, `uuid`, `busy_percent`, `used_bytes`, `memory_bytes`; a value that NVML does not tell
    is None. Raises GpuError."""
    if not has_driver():
        return ()
    answer = _ask_a_child(timeout_s, "read_load")
    if "error" in answer:
        raise GpuError(answer["error"], hint=answer.get("hint"))
    return tuple(answer["gpus"])


def _ask_a_child(timeout_s: float, question: str = "read_all") -> dict[str, Any]:
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _answer_and_exit(write_end, question)
    os.close(write_end)
    received = b""
    try:
        while True:
            if not select.select([read_end], [], [], timeout_s)[0]:
                os.kill(pid, signal.SIGKILL)
                return {
                    "error": f"NVML did not answer within {timeout_s:.0f} s",
                    "hint": "a GPU may hang: `nvidia-smi` and the kernel log tell more",
                }
            chunk = os.read(read_end, 1 << 16)
            if not chunk:
                break
            received += chunk
    finally:
        os.close(read_end)
        os.waitpid(pid, os.WNOHANG if not received else 0)
    if not received:
        return {"error": "the process that asked NVML died", "hint": "`nvidia-smi` tells more"}
    answer: dict[str, Any] = json.loads(received)
    return answer


def _answer_and_exit(write_end: int, question: str) -> None:
    from runtime.gpu import nvml

    try:
        answer: dict[str, Any] = {"gpus": nvml.read_load() if question == "read_load" else nvml.read_all()}
    except RuntimeFailure as error:
        answer = {"error": error.message, "hint": error.hint}
    except ImportError:
        answer = {"error": "the package nvidia-ml-py is not installed here", "hint": "install launch with its dependencies"}
    os.write(write_end, json.dumps(answer).encode())
    os._exit(0)
