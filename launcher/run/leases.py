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
    from launcher.schedule.placement import free_first, suitable
    from runtime.gpu.inventory import read_gpus

    count = int(plan.gpus)
    wishes = plan.spec.gpu

    def candidates() -> tuple[str, ...]:
        return free_first(suitable(read_gpus(), wishes, count))

    def waiting() -> None:
        journal.append(run_dir.journal, "note", text=f"waiting for {count} free GPU(s)")

    with lease_gpus(candidates, count, holder=run_dir.run_id, waiting=waiting) as lease:
        journal.append(run_dir.journal, "leased", gpus=list(lease.uuids))
        yield lease
