"""What a sweep sees of the other runs under its LAUNCH_HOME."""

from __future__ import annotations

import os
from pathlib import Path

from journal_lines import write_event

from launcher.run.start.create_run import begin_run
from launcher.sweep.capacity import Need
from launcher.sweep.other_sweeps import OtherSweeps
from runtime.state_dir import RunDir, StateDir


def living(state: StateDir, *, sweep: str | None = None, parent: bool = False, **needs: float) -> tuple[RunDir, int]:
    """A run that begins, and the descriptor that stands for its supervisor."""
    with begin_run(state) as (run_dir, lock_fd):
        sweep_id = run_dir.run_id if parent else sweep
        write_event(run_dir.journal, "created", sweep_id=sweep_id, needs=needs or None)
    return run_dir, lock_fd


def test_runs_are_counted_while_they_hold_what_they_need(tmp_path: Path) -> None:
    state = StateDir(tmp_path).ensure()
    ours, our_fd = living(state, parent=True)
    run, run_fd = living(state, cpus=2, memory_bytes=1 << 30, gpus=0)
    _trial, trial_fd = living(state, sweep=ours.run_id, cpus=1)
    looking = OtherSweeps(state, ours)
    assert (Need(2, 1 << 30, 0),) == looking.current_load().runs

    write_event(run.journal, "waiting", place=1, of=1, text="a GPU")
    assert () == looking.current_load().runs, "in line it holds nothing"
    write_event(run.journal, "leased", gpus=[])
    assert 1 == len(looking.current_load().runs)
    write_event(run.journal, "finished", reason="completed")
    assert () == looking.current_load().runs, "only its record is still to be sent"
    for fd in (our_fd, run_fd, trial_fd):
        os.close(fd)


def test_a_run_whose_supervisor_was_killed_holds_nothing(tmp_path: Path) -> None:
    state = StateDir(tmp_path).ensure()
    ours, our_fd = living(state, parent=True)
    _run, run_fd = living(state, cpus=2)
    os.close(run_fd)
    assert () == OtherSweeps(state, ours).current_load().runs
    os.close(our_fd)


def test_another_sweep_tells_what_it_waits_for_until_it_has_it_or_dies(tmp_path: Path) -> None:
    state = StateDir(tmp_path).ensure()
    ours, our_fd = living(state, parent=True)
    theirs, their_fd = living(state, parent=True)
    _trial, trial_fd = living(state, sweep=theirs.run_id, cpus=1)
    looking, other = OtherSweeps(state, ours), OtherSweeps(state, theirs)
    (rival,) = looking.current_load().rivals
    assert ((Need(1),), None) == (rival.running, rival.waits_for)

    other.wait(Need(3))
    assert [Need(3)] == [rival.waits_for for rival in looking.current_load().rivals]
    other.note_start()
    assert [None] == [rival.waits_for for rival in looking.current_load().rivals]

    os.close(their_fd)
    load = looking.current_load()
    assert ((), (Need(1),)) == (load.rivals, load.runs), "its trials go on without it"
    for fd in (our_fd, trial_fd):
        os.close(fd)
