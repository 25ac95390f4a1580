"""GPUs: whether there is a driver, what it finds, and whether a program could use it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from runtime.errors import RuntimeFailure
from runtime.gpu.amd import gpu_nodes
from runtime.gpu.gpu import Gpu
from runtime.gpu.inventory import has_driver, read_gpus
from runtime.gpu.roots import Roots
from runtime.gpu.visible_devices import restriction
from runtime.host.finding import Finding, off
from runtime.host.machine import Machine

_MOST_PIDS = 8


def gpus(machine: Machine) -> Finding:
    roots = Roots.of_this_machine()
    try:
        found = read_gpus()
    except RuntimeFailure as failure:
        return _other_platform(roots) or off(failure.message, advice=_advice(failure, roots))
    if not found:
        return _other_platform(roots) or _none()
    sick = [gpu for gpu in found if gpu.trouble]
    if sick:
        words = "; ".join(f"GPU {gpu.index}: {gpu.trouble}" for gpu in sick)
        return off(f"{_models(found)}; {words}", advice="`launch gpus` shows all of them; runs are placed on the others")
    if any(gpu.vendor == "nvidia" for gpu in found) and not (roots.dev / "dev/nvidia-uvm").exists():
        return off(
            f"{_models(found)}; `/dev/nvidia-uvm` is missing: CUDA fails with error 999",
            command="nvidia-modprobe -u -c=0",
        )
    return Finding(True, f"{_models(found)}{_mps(roots)}")


def _other_platform(roots: Roots) -> Finding | None:
    """Where NVIDIA's GPUs are reached by other means than those that launch uses."""
    if (roots.dev / "dev/dxg").exists():
        return off(
            "no GPUs: WSL2 reaches them through `/dev/dxg`, and has no nodes of their own that could be leased",
            advice="use Linux on the machine itself",
        )
    if (roots.driver / "etc/nv_tegra_release").exists():
        return off(
            "no GPUs: that of a Jetson is part of its chip, and NVML can neither lease nor watch it",
            advice="NVIDIA's own container runtime runs programs there",
        )
    return None


def _mps(roots: Roots) -> str:
    """A server of the Multi-Process Service, by the pipe through which it is controlled (its default place)."""
    running = (roots.driver / "tmp/nvidia-mps/control").exists()
    return (
        "; an MPS server runs here: runs don't join it, and where it holds GPUs exclusively they can't start" if running else ""
    )


def _none() -> Finding:
    left = restriction(os.environ)
    if left is not None and (has_driver() or gpu_nodes(Roots.of_this_machine())):
        return off(f"no GPUs: {left} leaves none", advice="unset it, or start launch where GPUs are visible")
    if has_driver():
        return off("no GPUs: the NVIDIA driver finds none", advice="`lspci | grep -i nvidia` shows whether one is plugged in")
    return off("no GPUs: no NVIDIA driver, and no AMD GPU that ROCm can use", advice="nothing to do on a machine without GPUs")


def _models(found: Sequence[Gpu]) -> str:
    """`8 × NVIDIA H100 80GB HBM3, driver 580.95.05, CUDA 13.0`."""
    counted = Counter(gpu.model or "GPU" for gpu in found)
    first = found[0]
    cuda = f", CUDA {first.cuda[0]}.{first.cuda[1]}" if first.cuda else ""
    return f"{', '.join(f'{count} × {model}' for model, count in counted.items())}, driver {first.driver or 'unknown'}{cuda}"


def _advice(failure: RuntimeFailure, roots: Roots) -> str:
    """With who keeps the old kernel module from being unloaded, where the new one waits for that."""
    if "kernel module" not in failure.message or not (pids := _with_open_nodes(roots)):
        return failure.hint or ""
    more = " and more" if len(pids) > _MOST_PIDS else ""
    return f"{failure.hint}; the module is in use by pids {', '.join(map(str, pids[:_MOST_PIDS]))}{more}"


def _with_open_nodes(roots: Roots) -> list[int]:
    """Processes with an NVIDIA device node open, as far as this user may see."""
    node = f"{roots.dev / 'dev/nvidia'}"
    found = []
    for name in sorted((name for name in os.listdir("/proc") if name.isdigit()), key=int):
        directory = f"/proc/{name}/fd"
        with suppress(OSError):
            if any(os.readlink(f"{directory}/{fd}").startswith(node) for fd in os.listdir(directory)):
                found.append(int(name))
    return found
