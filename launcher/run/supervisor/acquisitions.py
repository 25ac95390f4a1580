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

from launcher.journal.events import Acquired, Note
from launcher.journal.run_journal import Journal, read_state
from runtime.state_dir import RunDir

Undo = Callable[[RunDir, str], str | None]
"""Gives back what has a name. What the run's owner has to be told of it, if anything."""


def _remove_cgroup(run_dir: RunDir, name: str) -> None:
    from runtime.cgroup.own_cgroups import open_cgroup

    cgroup = open_cgroup(name)
    cgroup.kill()
    cgroup.remove()


def _remove_overlay(run_dir: RunDir, name: str) -> str | None:
    from runtime.container.lifecycle import remove_overlay

    words = _look_through_overlay(run_dir)
    remove_overlay(run_dir.overlay)
    return words


def _look_through_overlay(run_dir: RunDir) -> str | None:
    """Before it goes, what the program wrote in its working directory comes among the outputs; of a container to work in it is
    said what was installed, and what was changed of a run's is kept."""
    if run_dir.is_dev:
        from launcher.run.supervisor.installed_by_hand import installed_by_hand
        from launcher.run.supervisor.left_files import keep_changes

        keep_changes(run_dir)
        return installed_by_hand(run_dir)
    from launcher.run.supervisor.workspace_files import keep_workspace

    return keep_workspace(run_dir)


def _remove_scratch(run_dir: RunDir, name: str) -> str | None:
    from runtime.container.lifecycle import remove_overlay

    leads_there = run_dir.overlay.is_symlink() and os.readlink(run_dir.overlay) == name
    words = _look_through_overlay(run_dir) if leads_there else None
    remove_overlay(Path(name))
    if leads_there:
        run_dir.overlay.unlink()
    return words


def _disconnect_network(run_dir: RunDir, name: str) -> None:
    from runtime.network.bridge import disconnect_soon

    disconnect_soon(name)


def _reown_outputs(run_dir: RunDir, name: str) -> None:
    from runtime.container.lifecycle import reown_to_caller

    for lent in (run_dir.outputs, run_dir.checkpoints, run_dir.metrics, run_dir.params, run_dir.spec):
        if lent.exists():
            reown_to_caller(lent, lent_by=run_dir.root)


UNDO: dict[str, Undo] = {
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
    if told := UNDO[kind](run_dir, name):
        journal.append(Note(told))


def undo_all(
    run_dir: RunDir, announced: Iterable[Acquired] | None = None, *, kinds: Collection[str] = tuple(UNDO)
) -> tuple[str, ...]:
    """Give back whatever of *kinds* was *announced* (by default all that the run's journal says), newest first. Each undo is
    idempotent. What the run's owner has to be told of it."""
    announced = read_state(run_dir.journal).acquired if announced is None else announced
    given_back = reversed(dict.fromkeys((each.kind, each.name) for each in announced if each.kind in kinds))
    return tuple(told for kind, name in given_back if (told := UNDO[kind](run_dir, name)))
