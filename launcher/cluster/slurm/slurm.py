"""Slurm, asked by its own programs: sbatch, squeue, sacct, scancel.

The controller forgets a job `MinJobAge` (five minutes) after its end; then sacct is asked, and where no accounting is kept the
job has ended and Slurm does not say how: the run's journal usually does. So it is with one that the accounts call alive: a
controller that was killed soon after it took a job knows nothing of it, and the accounts hear of no end.
"""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections.abc import Iterable, Mapping, Sequence

from launcher.cluster.engine import JobEnd, JobPhase, JobStatus
from launcher.cluster.slurm.job_states import SACCT_FIELDS, SQUEUE_FORMAT, sacct_jobs, squeue_jobs
from launcher.cluster.slurm.own_job import environ_outside_of_job
from launcher.errors import LaunchError
from launcher.plan.slurm_program import CLUSTERS, SlurmMissing, SlurmRefused, run_slurm

_FORGOTTEN = "Invalid job id specified"
_SBATCH_READS = ("SLURM_CONF", "SLURM_DEBUG_FLAGS", "SLURM_HINT", "SLURM_UMASK")
_OTHER_COMMANDS = ("SBATCH_ARRAY_INX", "SBATCH_WAIT", "SBATCH_GET_USER_ENV")
"""Many jobs of one submission; a submission that returns at the job's end; another environment."""
_LOOK_S = 0.1
_TRIED_WITHIN_S = 10.0
_ASKED_AGAIN_S = 1.0
"""Long enough for a job that the controller has just learned of (a backup that took over) to be in its queue."""
_BEGINS_WITHIN_S = 1.0
_OVER = ("already completing or completed", _FORGOTTEN)


class Slurm:
    """Implements `engine.Engine`."""

    name = "slurm"

    def submit(self, script: str) -> str:
        _refuse_other_clusters(os.environ)
        # On the command line, too: options of a script give way to SBATCH_* variables, and what is configured shall not.
        argv = ["sbatch", "--parsable", "--export=ALL", *_options_of(script)]
        printed = run_slurm(argv, stdin=script, environ=_for_a_job(os.environ))
        job = printed.strip().partition(";")[0]  # `JOB;CLUSTER` where there are several clusters
        if not job.isdigit():
            raise LaunchError(f"`sbatch --parsable` printed no job id: `{printed.strip()}`")
        return job

    def refusal(self, script: str) -> str | None:
        """Why sbatch would not take *script* now; None where it would, or does not say. Raises SlurmMissing."""
        argv = ["sbatch", "--test-only", *_options_of(script)]
        try:
            run_slurm(argv, stdin=script, environ=_for_a_job(os.environ), patience_s=_TRIED_WITHIN_S)
        except SlurmMissing:
            raise
        except SlurmRefused as refused:
            return refused.words
        except LaunchError:
            return None
        return None

    def poll(self, jobs: Iterable[str]) -> dict[str, JobStatus]:
        wanted = list(jobs)
        found = self._queued(wanted)
        forgotten = [job for job in wanted if job not in found]
        if forgotten:
            accounted = self._accounted(forgotten)
            over = {job: status for job, status in accounted.items() if status.is_over}
            found |= over
            if len(over) < len(accounted):
                time.sleep(_ASKED_AGAIN_S)
                found |= self._queued([job for job in accounted if job not in over])
        return {job: found.get(job) or JobStatus(job, JobPhase.ENDED, end=JobEnd.UNKNOWN) for job in wanted}

    def signal(self, job: str, signum: signal.Signals) -> None:
        phase = self._cancel_pending(job)
        if phase is JobPhase.RUNNING:
            # --batch: only the script's own process, which is our supervisor; the program hears from that.
            run_slurm(["scancel", "--batch", f"--signal={signum.name.removeprefix('SIG')}", job], unless=_OVER)
        elif phase is not JobPhase.ENDED:
            # No supervisor hears a signal: its node is being powered up, the job is suspended (scancel would try for minutes),
            # or it was requeued and is not pending yet. One that is really ending refuses this.
            self.cancel(job)

    def _cancel_pending(self, job: str) -> JobPhase:
        """Cancel *job* where it is pending, and return its phase: PENDING where that had no effect. With `--state`, since one
        that has begun meanwhile has its `grace`; but it does not match all states in which a job waits (CONFIGURING,
        SPECIAL_EXIT)."""
        deadline = time.monotonic() + _BEGINS_WITHIN_S
        while (phase := self.poll([job])[job].phase) is JobPhase.PENDING and time.monotonic() < deadline:
            run_slurm(["scancel", "--state=PENDING", job], unless=_OVER)
            time.sleep(_LOOK_S)
        return phase

    def cancel(self, *jobs: str) -> None:
        run_slurm(["scancel", *jobs], unless=_OVER)

    def requeue(self, job: str) -> None:
        run_slurm(["scontrol", "requeue", job])

    def _queued(self, jobs: Sequence[str]) -> dict[str, JobStatus]:
        argv = ["squeue", "--noheader", "--states=all", f"--jobs={','.join(jobs)}", f"--Format={SQUEUE_FORMAT}"]
        # For several jobs squeue fetches the whole queue and looks for them itself, unless it is told whose they are.
        argv += [f"--user={os.geteuid()}"] if len(jobs) > 1 and os.geteuid() != 0 else []
        return squeue_jobs(run_slurm(argv, unless=(_FORGOTTEN,)))

    def _accounted(self, jobs: Sequence[str]) -> dict[str, JobStatus]:
        argv = ["sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={','.join(jobs)}"]
        try:
            return sacct_jobs(run_slurm([*argv, f"--format={','.join(SACCT_FIELDS)}"]))
        except LaunchError:
            return {}  # accounting is disabled, or its daemon away: we are no worse off than without


def _refuse_other_clusters(environ: Mapping[str, str]) -> None:
    """A job there would be asked about here, and be taken for one that is over."""
    for name in CLUSTERS:
        if environ.get(name):
            raise LaunchError(
                f"`{name}={environ[name]}`: a job goes to the cluster of this machine and to no other",
                hint=f"`unset {name}`; SLURM_CONF says which cluster this machine is of",
            )


def _options_of(script: str) -> list[str]:
    lines = (line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH "))
    return [word for line in lines for word in shlex.split(line)]


def _for_a_job(environ: Mapping[str, str]) -> dict[str, str]:
    """*environ* without what makes sbatch another command."""
    outside = environ_outside_of_job(environ, kept=_SBATCH_READS)
    return {name: value for name, value in outside.items() if name not in _OTHER_COMMANDS}
