"""Where a sweep's trials go: to this machine, as there is room, or to a cluster's worker jobs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from launcher.sweep.policy import FailurePolicy

if TYPE_CHECKING:
    from launcher.config.spec import Cluster, Sweep
    from launcher.run.start.fork_server import ForkServer
    from launcher.sweep.parent import SweepParent
    from launcher.sweep.place import Place
    from launcher.sweep.search.study import Study
    from runtime.state_dir import StateDir


@contextmanager
def trials_place(
    cluster: Cluster, settings: Sweep, study: Study, parent: SweepParent, state: StateDir, supervisors: ForkServer
) -> Iterator[Place]:
    """The place of the sweep *parent* for the body. Nobody waits for a trial afterwards."""
    ends_matter = study.learns or FailurePolicy.of(settings).has_an_end
    if cluster.kind == "local":
        yield _this_machine(settings, parent, state, supervisors, ends_matter=ends_matter)
        return
    from launcher.cluster.submission import engine_named
    from launcher.cluster.trials.slots import ClusterSlots, number_of_jobs
    from launcher.run.recover import recover

    limit = number_of_jobs(cluster, settings)
    slots = ClusterSlots(
        parent.run_dir,
        engine_named(cluster.kind),
        limit=limit,
        ends_matter=ends_matter,
        tell=parent.message,
        send=lambda run_dir: recover(run_dir, start=lambda run, lock_fd: os.close(supervisors.supervise(run, lock_fd))),
    )
    try:
        yield slots
    finally:
        slots.close()


def _this_machine(settings: Sweep, parent: SweepParent, state: StateDir, supervisors: ForkServer, *, ends_matter: bool) -> Place:
    from launcher.sweep.capacity import offer
    from launcher.sweep.local_place import LocalPlace
    from launcher.sweep.other_sweeps import OtherSweeps
    from launcher.sweep.room import Room

    room = Room(offer(), OtherSweeps(state, parent.run_dir), parallel=settings.parallel, ends_matter=ends_matter)
    return LocalPlace(room, supervisors)
