"""What a run takes from the machine, announced before it is taken, and the one way each thing is given back.

An announcement is an `acquired` event in the run's journal: a kind and a name derived from the run id. The supervisor's
ExitStack and `recover` (after `kill -9`) call the same undo, which takes nothing but that name. Everything not listed here
(mounts, network namespaces, veth ends, leases, processes) ends by construction with the container's processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from launcher.journal.events import Acquired
from launcher.journal.run_journal import Journal, read_state
from runtime.state_dir import RunDir


def _remove_cgroup(run_dir: RunDir, name: str) -> None:
    from runtime.cgroup.own_cgroups import open_cgroup

    cgroup = open_cgroup(name)
    cgroup.kill()
    cgroup.remove()


def _remove_overlay(run_dir: RunDir, name: str) -> None:
    from runtime.container.lifecycle import remove_overlay

    remove_overlay(run_dir.overlay)


def _remove_scratch(run_dir: RunDir, name: str) -> None:
    from runtime.container.lifecycle import remove_overlay

    remove_overlay(Path(name))
    if run_dir.overlay.is_symlink() and os.readlink(run_dir.overlay) == name:
        run_dir.overlay.unlink()


def _disconnect_network(run_dir: RunDir, name: str) -> None:
    from runtime.network.bridge import disconnect_soon

    disconnect_soon(name)


def _reown_outputs(run_dir: RunDir, name: str) -> None:
    from runtime.container.lifecycle import reown_to_caller

    for lent in (run_dir.outputs, run_dir.checkpoints, run_dir.metrics, run_dir.params, run_dir.spec):
        if lent.exists():
            reown_to_caller(lent, lent_by=run_dir.root)


UNDO: dict[str, Callable[[RunDir, str], None]] = {
    "cgroup": _remove_cgroup,
    "overlay": _remove_overlay,
    "scratch": _remove_scratch,
    "network": _disconnect_network,
    "outputs": _reown_outputs,
}


@contextmanager
def acquired(run_dir: RunDir, journal: Journal, kind: str, name: str) -> Iterator[None]:
    """Announce *kind* *name*, and undo it on the way out. If the body failed too, undo's failure becomes a note on that error."""
    journal.append(Acquired(kind, name))
    try:
        yield
    except BaseException as error:
        try:
            UNDO[kind](run_dir, name)
        except Exception as undo_error:
            error.add_note(f"while giving back {kind} `{name}`: {undo_error}")
        raise
    UNDO[kind](run_dir, name)


def undo_all(run_dir: RunDir, announced: Iterable[Acquired] | None = None, *, kinds: Collection[str] = tuple(UNDO)) -> None:
    """Give back whatever of *kinds* was *announced* (by default all that the run's journal says), newest first. Each undo is
    idempotent."""
    announced = read_state(run_dir.journal).acquired if announced is None else announced
    for kind, name in reversed(dict.fromkeys((each.kind, each.name) for each in announced)):
        if kind in kinds:
            UNDO[kind](run_dir, name)
