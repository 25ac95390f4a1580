"""The GPUs of a run: waited for, leased, announced in the journal. A run without GPUs leases nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from launcher.plan.launch_plan import LaunchPlan
from launcher.tracking import journal
from runtime.gpu.lease import GpuLease, lease_gpus
from runtime.state_dir import RunDir


@contextmanager
def leased(plan: LaunchPlan, run_dir: RunDir) -> Iterator[GpuLease | None]:
    """Hold the GPUs of *plan* for the body; wait in line when they are taken."""
    if not plan.gpus:
        journal.append(run_dir.journal, "leased", gpus=[])
        yield None
        return
    with lease_gpus(plan.gpus, wishes=plan.spec.gpu, holder=run_dir.run_id) as lease:
        journal.append(run_dir.journal, "leased", gpus=list(lease.uuids))
        yield lease
