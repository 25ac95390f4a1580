"""Waiting for GPUs: stand in the queue, look when something changed, take what is ours, and look again before it is used.

What wakes a queued run is inotify on the lease directory: the kernel reports the closing of a lock's last descriptor, however its
holder died. Processes outside launch have no lock, so while only they are in the way the driver is asked once a second.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from launcher.errors import LaunchError
from launcher.journal.status import Reason
from launcher.plan.launch_plan import LaunchPlan
from launcher.run.gpus.gpu_pool import GpuPool
from launcher.run.supervisor.attempt import CancelledInQueue
from launcher.run.supervisor.signal_inbox import REQUESTS, SignalInbox
from launcher.schedule.device_request import QueuedRun
from launcher.schedule.queue import PlacementAttempt, QueuePlace, queued, try_to_place, update_request
from launcher.schedule.queue_messages import describe_holders, describe_wait
from runtime.gpu.gpu import Gpu
from runtime.gpu.leases.lease import GpuLease, occupancy, release
from runtime.gpu.leases.lock_files import lease_dir
from runtime.kernel.inotify import CLOSE_WRITE, MODIFY, Inotify
from runtime.kernel.processes import login_name
from runtime.light_dataclasses import dataclass, replace

_ASK_THE_DRIVER_S = 1.0
_LOOK_WITHOUT_INOTIFY_S = 0.5
_LEAVING_STEP_S = 0.25
_AFTER_GRACE_S = 10.0
"""From SIGKILL to the end of a run, generously."""

Waiting = Callable[[int, int, str], None]
"""Hears the place in the queue, its length, and what is waited for; each time that any of them changes."""


@dataclass(frozen=True, slots=True)
class GpuPlacement:
    """A lease, and its GPUs as they were when it was taken."""

    lease: GpuLease
    gpus: tuple[Gpu, ...]


class Line:
    """A run's place in the queue for GPUs."""

    def __init__(self, directory: Path, place: QueuePlace, pool: GpuPool, *, look_anyway_s: float) -> None:
        self._directory = directory
        self._place = place
        self._pool = pool
        self._look_anyway_s = look_anyway_s
        self.stands: tuple[int, int, str] = (0, 0, "")
        """Place, length of the queue, and what is waited for, as of the last look."""
        self._only_foreign = False

    def look(self) -> GpuPlacement | None:
        """The GPUs, if it is this run's turn. Raises LaunchError when there is nothing to wait for."""
        while True:
            self._place = update_request(self._directory, self._place, self._pool.request)
            attempt = _attempt(self._directory, self._place.entry, self._pool)
            if attempt.lease is None:
                break
            if (clean := _confirm(self._directory, attempt.lease, self._pool)) is not None:
                return clean
        words = describe_wait(self._pool.request, attempt.decision, attempt.devices)
        self.stands = attempt.decision.place, attempt.decision.of, words
        self._only_foreign = attempt.only_foreign
        return None

    @property
    def look_again_s(self) -> float:
        """When the next look is due at the latest, whatever changes."""
        return _ASK_THE_DRIVER_S if self._only_foreign else self._look_anyway_s

    def ask_the_driver(self) -> None:
        """Where that is due: a GPU may have been lost, sliced or repaired since."""
        if self._only_foreign or self._pool.age_s >= self._look_anyway_s:
            self._pool.read()


@contextmanager
def in_line(
    plan: LaunchPlan,
    run: str,
    *,
    avoided: frozenset[str] = frozenset(),
    only: frozenset[str] | None = None,
    look_anyway_s: float = 30.0,
) -> Iterator[Line]:
    """Stand in the queue for the GPUs of *plan*: any but those *avoided*, or *only* these."""
    pool, directory = GpuPool(plan, avoided=avoided, only=only), lease_dir()
    with queued(directory, _queued_run(plan, run, pool)) as place:
        yield Line(directory, place, pool, look_anyway_s=look_anyway_s)


def wait_for_gpus(
    plan: LaunchPlan,
    run: str,
    inbox: SignalInbox,
    waiting: Waiting,
    *,
    avoided: frozenset[str] = frozenset(),
    look_anyway_s: float = 30.0,
) -> GpuPlacement:
    """The GPUs for *plan*, after as much waiting as it takes; *avoided* if there are no others. *look_anyway_s*: how long to
    wait for news before the driver is asked all the same. Raises CancelledInQueue."""
    told: tuple[int, int, str] | None = None
    with in_line(plan, run, avoided=avoided, look_anyway_s=look_anyway_s) as line, _Changes(lease_dir(), inbox) as changes:
        while True:
            changes.forget()
            if (found := line.look()) is not None:
                return found
            if line.stands != told:
                waiting(*line.stands)
                told = line.stands
            changes.wait(line.look_again_s)
            line.ask_the_driver()


def take_gpus_now(plan: LaunchPlan, run: str, inbox: SignalInbox, *, leaving_s: float = 10.0) -> GpuPlacement:
    """The GPUs for *plan* without waiting: only what a killed run leaves behind is given time to go. *leaving_s*: how long a
    driver may need to free the memory of a process that was killed.

    Raises LaunchError with who has them.
    """
    pool, directory = GpuPool(plan), lease_dir()
    deadline = time.monotonic() + leaving_s
    while True:
        attempt = _attempt(directory, _queued_run(plan, run, pool), pool)
        if attempt.lease is not None and (clean := _confirm(directory, attempt.lease, pool)) is not None:
            return clean
        if attempt.lease is None and not (attempt.only_leaving and time.monotonic() < deadline):
            raise _not_free(pool, attempt)
        _pause(inbox, _LEAVING_STEP_S)
        pool.read()


def refuse_unless_free(plan: LaunchPlan) -> None:
    """For `--no-wait`, before anything is built. It holds nothing: what is free now may be taken when the run begins."""
    if not plan.gpus:
        return
    pool, directory = GpuPool(plan), lease_dir()
    attempt = _attempt(directory, _queued_run(plan, "", pool), pool)
    if attempt.lease is not None:
        release(attempt.lease)
    elif not attempt.only_leaving:
        raise _not_free(pool, attempt)


def _attempt(directory: Path, entry: QueuedRun, pool: GpuPool) -> PlacementAttempt:
    return try_to_place(directory, entry, pool.devices, pool.topology, foreign_use=pool.foreign_use)


def _confirm(directory: Path, lease: GpuLease, pool: GpuPool) -> GpuPlacement | None:
    """The lease, unless a foreign process came, or a GPU was lost, between the last look and the lock: then it is given back."""
    leased = set(lease.uuids)
    try:
        pool.read()
        there = pool.foreign_use({uuid: occupancy(directory, uuid) for uuid in lease.uuids})
    except BaseException:
        release(lease)
        raise
    if leased & there.keys() or not leased <= set(pool.request.offers):
        release(lease)
        return None
    memory = {device.uuid: device.memory_bytes for device in pool.devices}
    shares = tuple(int(memory.get(uuid, 0) * share) for uuid, share in zip(lease.uuids, lease.shares, strict=True))
    gpus = tuple(gpu for gpu in pool.gpus if leased & {gpu.uuid, *(one.uuid for one in gpu.mig)})
    return GpuPlacement(replace(lease, memory_bytes=shares), gpus)


def _not_free(pool: GpuPool, attempt: PlacementAttempt) -> LaunchError:
    request, decision = pool.request, attempt.decision
    sentences = describe_holders(request, decision, attempt.devices)
    return LaunchError(
        f"not enough free GPUs: {request.words} requested, {len(decision.free)} of {len(request.offers)} free",
        hint="; ".join([*sentences, "without `--no-wait` it waits for its turn"]),
    )


def _queued_run(plan: LaunchPlan, run: str, pool: GpuPool) -> QueuedRun:
    timeout_s = plan.spec.timeout
    return QueuedRun(
        pool.request,
        run=run,
        user=login_name(),
        pid=os.getpid(),
        priority=plan.spec.cluster.priority,
        since=time.time(),
        lasts_s=None if timeout_s is None else timeout_s + (plan.spec.grace or 0.0) + _AFTER_GRACE_S,
    )


def _pause(inbox: SignalInbox, seconds: float, *more: Inotify) -> None:
    """Sleep, unless something of *more* happens. Raises CancelledInQueue for a signal."""
    if inbox.fd in select.select([inbox.fd, *(one.fileno() for one in more)], [], [], seconds)[0]:
        for request in inbox.read():
            raise CancelledInQueue(REQUESTS.get(request, Reason.STOPPED))


class _Changes:
    """Wakes up when a lease or a place in the queue is given up; now and then where the kernel has no inotify left for us."""

    def __init__(self, directory: Path, inbox: SignalInbox) -> None:
        self._inbox = inbox
        self._inotify = Inotify()
        self._inotify.watch(directory, MODIFY | CLOSE_WRITE)

    def forget(self) -> None:
        """What has happened so far: who looks now will see it."""
        self._inotify.read()

    def wait(self, seconds: float) -> None:
        _pause(self._inbox, min(seconds, _LOOK_WITHOUT_INOTIFY_S) if self._inotify.misses else seconds, self._inotify)

    def __enter__(self) -> _Changes:
        return self

    def __exit__(self, *_failure: object) -> None:
        self._inotify.close()
