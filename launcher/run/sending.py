"""What becomes of a run's record when the run has ended: MLflow has it, or the run goes on the list of what MLflow has to be told
(`StateDir.unsent`), and the sender is started, which nobody waits for. Who asked to be told of the end (`notify`) is.
"""

from __future__ import annotations

import os

from launcher.run.notice import start_notifier
from launcher.run.start.supervisor_start import SEND, spawn_logged, supervisor_argv
from runtime.file_lock import is_locked
from runtime.kernel.lock_holder import is_dying, lock_holder
from runtime.state_dir import RunDir, StateDir
from runtime.whole_file import remove_partials


def close_run(run_dir: RunDir, *, is_told: bool) -> None:
    """The run has had its last word. *is_told*: MLflow has it all, or will never take it. Else the sender shall tell it. What
    supervisors that were killed while they wrote it left of their files goes."""
    state = run_dir.state
    remove_partials(run_dir.root, (file.name for file in (run_dir.sbom, run_dir.gpu_energy, run_dir.output_index)))
    if run_dir in state.active:  # else somebody has closed it just before us
        start_notifier(run_dir)
    if is_told:
        state.unsent.remove(run_dir)
    else:
        state.unsent.add(run_dir)  # before the other mark goes: killed in between the run stands on both lists
    state.active.remove(run_dir)
    start_sender(state)


def start_sender(state: StateDir) -> None:
    """Have a process of its own send what waits, if something does and nobody is at it.

    Not in a cluster's job: it ends with the job, a node need not reach MLflow, and two local servers must not have one database.
    """
    if "SLURM_JOB_ID" in os.environ or not _needs_sender(state):
        return
    spawn_logged([*supervisor_argv(SEND), os.fspath(state.root)], state.mlflow / "sender.log")


def _needs_sender(state: StateDir) -> bool:
    if not state.unsent.own_runs():
        return False
    return not is_locked(state.sender_lock) or is_dying(lock_holder(state.sender_lock))
