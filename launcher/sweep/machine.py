"""What this machine offers to the trials of a sweep."""

from __future__ import annotations

from launcher.plan.machine_share import this_machine
from launcher.sweep.capacity import Offer


def offer() -> Offer:
    from runtime.gpu.nvidia.proc_driver import count_gpus

    machine = this_machine()
    return Offer(machine.cpus, machine.memory_bytes, count_gpus())
