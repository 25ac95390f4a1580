"""GPUs: whether there is a driver, and what it finds."""

from __future__ import annotations

from runtime.errors import RuntimeFailure
from runtime.gpu.inventory import has_driver, read_gpus
from runtime.host.finding import Finding, off
from runtime.host.machine import Machine


def gpus(machine: Machine) -> Finding:
    if not has_driver():
        return off("no NVIDIA driver", advice="nothing to do on a machine without GPUs")
    try:
        found = read_gpus()
    except RuntimeFailure as failure:
        return off(failure.message, advice=failure.hint or "")
    words = "; ".join(f"{gpu.model or 'GPU'}{f' ({gpu.trouble})' if gpu.trouble else ''}" for gpu in found)
    return Finding(bool(found), words)
