"""What of this machine may change a result: recorded with each attempt, compared by `launch diff` and by a rerun's verdict.

GPUs and their driver are recorded with the lease. What is inside the image (numpy, cuDNN) is the image's digest.
"""

from __future__ import annotations

import os
from typing import Any

from launcher.plan.launch_plan import LaunchPlan
from launcher.plan.machine_share import this_machine
from launcher.plan.program.cpu_level import LEVEL, read_cpu


def machine_facts(plan: LaunchPlan) -> dict[str, Any]:
    """Plain values, by the names that they have as `launch.NAME` in MLflow."""
    cpu, kernel, machine = read_cpu(), os.uname(), this_machine()
    return {
        "host": kernel.nodename,
        "kernel": f"{kernel.sysname} {kernel.release}",
        "architecture": kernel.machine,
        "cpu": cpu.model or None,
        "cpu_level": cpu.level,
        "cpu_flags": " ".join(sorted(cpu.flags)),
        # The level that kernels of BLAS and oneDNN are chosen by: what the CPU can, unless it is held lower.
        "kernels": LEVEL if plan.spec.deterministic and kernel.machine == "x86_64" else cpu.level,
        "machine_cpus": machine.cpus,
        "machine_memory_bytes": machine.memory_bytes,
    }
