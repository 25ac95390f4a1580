"""Where a run goes that has been written down: to a supervisor on this machine, or into a cluster's line."""

from __future__ import annotations

from launcher.cli.watch import watch
from launcher.plan.launch_plan import LaunchPlan
from launcher.run.fork_server import ForkServer
from launcher.run.signal_inbox import SignalInbox
from runtime.state_dir import RunDir


def place(supervisors: ForkServer, plan: LaunchPlan, run_dir: RunDir, lock_fd: int, *, quiet: bool) -> int | None:
    """Give the run away, and *lock_fd* with it. Returns its supervisor's pidfd; None when a cluster has the run."""
    if plan.spec.cluster.kind == "local":
        return supervisors.supervise(run_dir, lock_fd)
    from launcher.cli.cluster_run import submit_and_say

    submit_and_say(run_dir, lock_fd, plan, quiet=quiet)
    return None


def watch_placed(
    run_dir: RunDir, supervisor: int | None, inbox: SignalInbox, *, quiet: bool = False, tail: int | None = None
) -> int:
    """Show the run to its end. Returns the exit code of `launch`."""
    if supervisor is not None:
        return watch(run_dir, supervisor, inbox, quiet=quiet, tail=tail)
    from launcher.cli.cluster_run import watch_job

    return watch_job(run_dir, inbox, quiet=quiet, tail=tail)
