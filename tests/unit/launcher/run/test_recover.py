"""Runs that lost everybody: before their end, or before their record was complete."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from journal_lines import write_event
from waiting import eventually

from launcher.run.recover import recover, recover_all
from launcher.run.sending import start_sender
from launcher.run.supervisor.tracker_process import call_supervisor
from runtime.file_lock import is_locked, locked, open_locked
from runtime.kernel.lock_holder import announce_holder
from runtime.kernel.namespaces import holder_of_descriptors
from runtime.state_dir import RunDir, StateDir

PARTIAL = ".code.tar.0123456789abcdef"


def make_run_dir(state: StateDir, run_id: str) -> RunDir:
    run_dir = state.run(run_id)
    run_dir.root.mkdir(parents=True)
    return run_dir


def end(run_dir: RunDir) -> None:
    write_event(run_dir.journal, "created", run_id=run_dir.run_id, tracking=False)
    write_event(run_dir.journal, "finished", reason="completed", exit_code=0, usage={})
    run_dir.state.active.add(run_dir)
    (run_dir.root / PARTIAL).touch()


def test_what_was_half_written_when_everybody_was_killed_is_removed(run_dir: RunDir) -> None:
    end(run_dir)
    for written in (run_dir.sbom, run_dir.gpu_energy, run_dir.output_index):
        written.with_name(f".{written.name}.0123456789abcdef").touch()
    assert not recover(run_dir)
    assert [] == [name for name in os.listdir(run_dir.root) if name.startswith(".")]
    assert [] == run_dir.state.active.runs()


def test_what_its_tracker_is_writing_is_left_to_it(run_dir: RunDir) -> None:
    end(run_dir)
    with locked(run_dir.root / "tracker.lock"):
        assert not recover(run_dir)
    assert PARTIAL in os.listdir(run_dir.root)


def test_a_run_whose_killed_supervisor_keeps_its_lock_a_moment_longer_is_taken_up(run_dir: RunDir) -> None:
    """As in the wait for a disk, or by a process that it has just forked."""
    have_the_dying_hold(run_dir, for_s=0.5)
    recover_all(run_dir.state)
    assert [] == run_dir.state.active.runs()


def test_a_run_whose_supervisor_was_killed_while_it_made_a_user_namespace_is_taken_up(run_dir: RunDir) -> None:
    """The child that holds the namespace for it sleeps on, with the lock."""
    have_the_dying_hold(run_dir, by=holder_of_descriptors)
    recover_all(run_dir.state)
    assert [] == run_dir.state.active.runs()


def test_a_tracker_takes_up_its_run_though_the_killed_supervisor_keeps_its_lock_a_moment_longer(run_dir: RunDir) -> None:
    """Its channel is closed before its lock, and between the two it may have to wait for a processor."""
    have_the_dying_hold(run_dir, for_s=0.5)
    call_supervisor(run_dir)
    assert [] == run_dir.state.active.runs()


def test_a_lock_that_its_killed_supervisor_gives_back_while_others_are_taken_up_is_not_missed(state: StateDir) -> None:
    for again in range(5):
        for number in range(20):
            end(make_run_dir(state, f"other-{again}-{number:02}"))
        run_dir = make_run_dir(state, f"first-{again}")
        have_the_dying_hold(run_dir, for_s=0.005)  # to take up the others takes longer
        recover_all(state)
        assert [] == state.active.runs()


def test_a_lock_on_its_way_to_a_supervisor_is_taken_up_when_who_began_the_run_was_killed(run_dir: RunDir) -> None:
    """Command and fork server at once: nobody has announced himself."""
    write_event(run_dir.journal, "created", run_id=run_dir.run_id, tracking=False, pid=ended_process())
    run_dir.state.active.add(run_dir)
    with held_by_another(run_dir.supervisor_lock, for_s=0.5):
        recover_all(run_dir.state)
    assert [] == run_dir.state.active.runs()


def test_a_half_run_is_forgotten_though_who_began_it_keeps_his_lock_a_moment_longer(run_dir: RunDir) -> None:
    run_dir.state.active.add(run_dir)
    with held_by_another(run_dir.state.beginnings_lock, for_s=0.3):
        recover_all(run_dir.state)
    assert (False, []) == (run_dir.root.exists(), run_dir.state.active.runs())


def test_a_sender_that_was_killed_and_keeps_its_lock_a_moment_longer_has_a_successor(run_dir: RunDir) -> None:
    state = run_dir.state
    state.unsent.add(state.run("gone"))  # removed since: it leaves the list
    with held_by_another(state.sender_lock, for_s=1.5):
        state.sender_lock.write_text(json.dumps({"pid": ended_process()}))
        start_sender(state)
        eventually(lambda: not state.unsent.runs())


@contextmanager
def held_by_another(lock: Path, *, for_s: float) -> Iterator[None]:
    """Locked by a process that lets it go after *for_s*."""
    holder = os.fork()
    if holder == 0:
        open_locked(lock)
        time.sleep(for_s)
        os._exit(0)
    eventually(lambda: is_locked(lock))
    yield
    os.waitpid(holder, 0)


def ended_process() -> int:
    """The number of one."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def have_the_dying_hold(run_dir: RunDir, *, for_s: float = 0.0, by: Callable[[], int] | None = None) -> None:
    """The lock of a run that has begun, by a child (that *by* makes) of a supervisor that is dead already."""
    write_event(run_dir.journal, "created", run_id=run_dir.run_id, tracking=False)
    run_dir.state.active.add(run_dir)
    supervisor = os.fork()
    if supervisor == 0:
        announce_holder(open_locked(run_dir.supervisor_lock))
        if by is not None:
            by()
        elif os.fork() == 0:
            time.sleep(for_s)
        os._exit(0)
    os.waitpid(supervisor, 0)


def test_what_killed_shells_of_earlier_versions_left_is_removed(state: StateDir) -> None:
    dead, living = (RunDir(state.root / "shells" / f"shell-{number}") for number in "12")
    for run_dir in (dead, living):
        (run_dir.overlay / "upper").mkdir(parents=True)
        run_dir.supervisor_lock.touch()
        write_event(run_dir.journal, "acquired", kind="overlay", name=run_dir.run_id)
    with locked(living.supervisor_lock):
        recover_all(state)
        assert (False, True) == (dead.root.exists(), living.root.exists())
    recover_all(state)
    assert not (state.root / "shells").exists()
