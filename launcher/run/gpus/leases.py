"""The GPUs of a run: waited for in the queue, leased, checked, announced in the journal. A run without GPUs leases nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from launcher.journal.events import Leased, Waiting
from launcher.journal.run_journal import Journal
from launcher.plan.launch_plan import LaunchPlan
from launcher.run.supervisor.signal_inbox import SignalInbox
from runtime.light_dataclasses import dataclass
from runtime.state_dir import RunDir

if TYPE_CHECKING:
    from launcher.run.gpus.gpu_queue import GpuPlacement
    from launcher.run.gpus.gpu_watch import GpuWatch
    from launcher.run.gpus.returned_gpus import ReturnedGpus
    from runtime.container.lifecycle import Container
    from runtime.gpu.leases.lease import GpuLease


@dataclass(slots=True)
class HeldGpus:
    """The GPUs that this process holds for its run: a container to work in may give them back and take them again."""

    lease: GpuLease | None = None

    def give_back(self) -> None:
        if self.lease is not None:
            from runtime.gpu.leases.lease import release

            release(self.lease)
            self.lease = None


@contextmanager
def holding(held: HeldGpus) -> Iterator[HeldGpus]:
    """Give *held* back after the body. Where that fails the container perhaps lives on: then its init holds the lease as long
    as it does."""
    try:
        yield held
    except BaseException:
        for fd in held.lease.fds if held.lease is not None else ():
            os.close(fd)
        raise
    held.give_back()


@contextmanager
def lease_gpus(
    plan: LaunchPlan, run_dir: RunDir, journal: Journal, inbox: SignalInbox, *, may_wait: bool = True
) -> Iterator[HeldGpus]:
    """Hold the GPUs of *plan* for the body; wait in the queue when they are taken, unless it *may_wait* not.

    Raises CancelledInQueue when a signal ends the waiting, LaunchError when there is nothing to wait for.
    """
    if not plan.gpus:
        journal.append(Leased())
        yield HeldGpus()
        return
    from launcher.run.gpus.gpu_affinity import near_gpus
    from launcher.run.gpus.gpu_queue import take_gpus_now, wait_for_gpus
    from launcher.run.gpus.gpu_watch import gpus_with_hardware_errors

    def waiting(place: int, of: int, text: str) -> None:
        journal.append(Waiting(place, of, text))
        journal.confirm_soon()  # it may wait for hours

    holder = run_dir.container_id
    avoided = gpus_with_hardware_errors(journal.read())
    found = wait_for_gpus(plan, holder, inbox, waiting, avoided=avoided) if may_wait else take_gpus_now(plan, holder, inbox)
    with holding(HeldGpus(found.lease)) as held, near_gpus(found.gpus, cpus=plan.cpus) as near:
        journal.append(_event(found, **near))
        yield held


def watched_gpus(
    run_dir: RunDir, journal: Journal, plan: LaunchPlan, uuids: Sequence[str], *, begun: bool = False
) -> AbstractContextManager[GpuWatch | None]:
    """Watch *uuids* for the body, if there are any. *begun*: another supervisor watched this attempt before."""
    if not uuids:
        return nullcontext()
    from launcher.run.gpus.gpu_watch import watch_gpus  # a run without GPUs needs nothing of it

    return watch_gpus(run_dir, journal, plan, uuids, begun=begun)


def returned_gpus(
    plan: LaunchPlan, run_dir: RunDir, journal: Journal, container: Container, held: HeldGpus, watch: GpuWatch | None
) -> AbstractContextManager[ReturnedGpus | None]:
    """What hears of a *container* to work in that it gives its GPUs back, and wants them again; for the body."""
    if watch is None or plan.spec.dev.gpu_idle is None or not run_dir.is_dev:
        return nullcontext()
    from launcher.run.gpus.returned_gpus import ReturnedGpus

    return ReturnedGpus(plan, journal, container, held, watch)


def _event(found: GpuPlacement, cpus: str | None = None, numa_nodes: Sequence[int] = ()) -> Leased:
    lease = found.lease
    facts = {
        "gpu_models": ", ".join(str(gpu.model) for gpu in found.gpus),
        "driver": next((gpu.driver for gpu in found.gpus), None),
        "gpu_power_limits": ", ".join(f"{gpu.power_limit_w:g} W" for gpu in found.gpus if gpu.power_limit_w is not None) or None,
    }
    shares = tuple(lease.shares) if any(share < 1 for share in lease.shares) else ()
    return Leased(tuple(lease.uuids), shares, cpus, tuple(numa_nodes), facts)
