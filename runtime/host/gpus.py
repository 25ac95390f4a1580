"""GPUs: whether there is a driver, what it finds, and whether a program could use it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from runtime.errors import RuntimeFailure
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
        return off(failure.message, advice=_advice(failure, roots))
    if not found:
        return _none()
    sick = [gpu for gpu in found if gpu.trouble]
    if sick:
        words = "; ".join(f"GPU {gpu.index}: {gpu.trouble}" for gpu in sick)
        return off(f"{_models(found)}; {words}", advice="`launch gpus` shows all of them; runs are placed on the others")
    if any(gpu.vendor == "nvidia" for gpu in found) and not (roots.dev / "dev/nvidia-uvm").exists():
        return off(
            f"{_models(found)}; `/dev/nvidia-uvm` is missing: CUDA fails with error 999",
            command="nvidia-modprobe -u -c=0",
        )
    return Finding(True, _models(found))


def _none() -> Finding:
    left = restriction(os.environ)
    if left is not None:
        return off(f"no GPUs: {left} leaves none", advice="unset it, or start launch where GPUs are visible_gpus")
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
