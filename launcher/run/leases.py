"""The GPUs of a run: waited for, leased, announced in the journal. A run without GPUs leases nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from launcher.plan.launch_plan import LaunchPlan
from launcher.tracking import journal
from runtime.state_dir import RunDir


@dataclass(frozen=True, slots=True)
class HeldGpus:
    """Leased GPUs: what to inject, and the descriptors that init must hold too."""

    uuids: tuple[str, ...]
    fds: tuple[int, ...]
    minors: tuple[int, ...]


@contextmanager
def leased(plan: LaunchPlan, run_dir: RunDir) -> Iterator[HeldGpus | None]:
    """Hold the GPUs of *plan* for the body; wait in line when they are taken."""
    if not plan.gpus:
        journal.append(run_dir.journal, "leased", gpus=[])
        yield None
        return
    from launcher.schedule.placement import free_first, suitable
    from runtime.gpu.inventory import read_gpus
    from runtime.gpu.lease import lease_gpus

    count = int(plan.gpus)
    wishes = plan.spec.gpu
    by_uuid = {gpu.uuid: gpu for gpu in suitable(read_gpus(), wishes, count)}

    def candidates() -> tuple[str, ...]:
        return free_first(suitable(read_gpus(), wishes, count))

    def waiting() -> None:
        journal.append(run_dir.journal, "note", text=f"waiting for {count} free GPU(s)")

    with lease_gpus(candidates, count, holder=run_dir.run_id, waiting=waiting) as lease:
        journal.append(run_dir.journal, "leased", gpus=list(lease.uuids))
        yield HeldGpus(lease.uuids, lease.fds, tuple(by_uuid[uuid].minor or 0 for uuid in lease.uuids))
