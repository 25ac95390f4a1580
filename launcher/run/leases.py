"""The GPUs of a run: waited for, leased, announced in the journal. A run without GPUs leases nothing."""

from __future__ import annotations

import select
from collections.abc import Iterator
from contextlib import contextmanager

from launcher.plan.launch_plan import LaunchPlan
from launcher.run.follow import REQUESTS
from launcher.run.signal_inbox import SignalInbox
from launcher.tracking import journal
from launcher.tracking.status import Reason
from runtime.gpu.lease import GpuLease, holders, lease_gpus
from runtime.state_dir import RunDir


class Withdrawn(Exception):
    """The run was asked to end while it waited in line."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


@contextmanager
def leased(plan: LaunchPlan, run_dir: RunDir, inbox: SignalInbox) -> Iterator[GpuLease | None]:
    """Hold the GPUs of *plan* for the body; wait in line when they are taken. Raises Withdrawn when a signal ends the waiting."""
    if not plan.gpus:
        journal.append(run_dir.journal, "leased", gpus=[])
        yield None
        return
    from launcher.schedule.placement import free_first, suitable
    from runtime.gpu.inventory import Gpu, read_gpus

    count = int(plan.gpus)
    seen: dict[str, Gpu] = {}

    def candidates() -> tuple[str, ...]:
        fitting = suitable(read_gpus(), plan.spec.gpu, count)
        seen.update({gpu.uuid: gpu for gpu in fitting if gpu.uuid is not None})
        return free_first(fitting)

    def waiting() -> None:
        journal.append(run_dir.journal, "note", text=f"waiting for GPUs: {count} requested{_held_by(tuple(seen))}")

    def pause(seconds: float) -> None:
        if select.select([inbox.fd], [], [], seconds)[0]:
            for request in inbox.read():
                raise Withdrawn(REQUESTS.get(request, Reason.STOPPED))

    with lease_gpus(candidates, count, holder=run_dir.run_id, waiting=waiting, pause=pause) as lease:
        leased_gpus = [seen[uuid] for uuid in lease.uuids if uuid in seen]
        facts = {
            "gpu_models": ", ".join(str(gpu.model) for gpu in leased_gpus),
            "driver": next((gpu.driver for gpu in leased_gpus), None),
        }
        journal.append(run_dir.journal, "leased", gpus=list(lease.uuids), facts=facts)
        yield lease


def _held_by(uuids: tuple[str, ...]) -> str:
    """`; held: GPU-91c2… by run a1b2`, as far as the holders wrote it."""
    held = [f"{uuid} by run {holder.get('run', '?')}" for uuid, holder in holders(uuids).items()]
    return f"; held: {', '.join(held)}" if held else ""
