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
    from runtime.gpu.inventory import Gpu, read_gpus

    count = int(plan.gpus)
    wishes = plan.spec.gpu
    seen: dict[str, Gpu] = {}

    def candidates() -> tuple[str, ...]:
        gpus = read_gpus()
        seen.update({gpu.uuid: gpu for gpu in gpus if gpu.uuid is not None})
        return free_first(suitable(gpus, wishes, count))

    def waiting() -> None:
        journal.append(run_dir.journal, "note", text=f"waiting for {count} free GPU(s)")

    with lease_gpus(candidates, count, holder=run_dir.run_id, waiting=waiting) as lease:
        leased_gpus = [seen[uuid] for uuid in lease.uuids if uuid in seen]
        facts = {
            "gpu_models": ", ".join(str(gpu.model) for gpu in leased_gpus),
            "driver": next((gpu.driver for gpu in leased_gpus), None),
        }
        journal.append(run_dir.journal, "leased", gpus=list(lease.uuids), facts=facts)
        yield lease
