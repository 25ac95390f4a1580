"""Slurm, spoken to by its own programs: sbatch, squeue, sacct, scancel.

The controller forgets a job `MinJobAge` (five minutes) after its end; then sacct is asked, and where no accounting is kept the
job has ended and nobody says how: the run's journal usually does.
"""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections.abc import Iterable, Mapping, Sequence

from launcher.cluster.engine import JobEnd, JobPhase, JobStatus
from launcher.cluster.slurm_words import SACCT_FIELDS, SQUEUE_FORMAT, sacct_jobs, squeue_jobs
from launcher.errors import LaunchError
from launcher.plan.slurm_program import run_slurm

_FORGOTTEN = "Invalid job id specified"
_SBATCH_READS = ("SLURM_CLUSTERS", "SLURM_CONF", "SLURM_DEBUG_FLAGS", "SLURM_HINT", "SLURM_UMASK")
_OTHER_COMMANDS = ("SBATCH_ARRAY_INX", "SBATCH_WAIT", "SBATCH_GET_USER_ENV")
"""Many jobs of one submission; a submission that returns at the job's end; another environment."""
_OVER = ("already completing or completed", _FORGOTTEN)


class Slurm:
    """Implements `engine.Engine`."""

    name = "slurm"

    def submit(self, script: str) -> str:
        # On the command line, too: options of a script give way to SBATCH_* variables, and what is configured shall not.
        argv = ["sbatch", "--parsable", "--export=ALL", *_options_of(script)]
        printed = run_slurm(argv, stdin=script, environ=_for_a_job(os.environ))
        job = printed.strip().partition(";")[0]  # `JOB;CLUSTER` where there are several clusters
        if not job.isdigit():
            raise LaunchError(f"`sbatch --parsable` printed no job id: `{printed.strip()}`")
        return job

    def poll(self, jobs: Iterable[str]) -> dict[str, JobStatus]:
        wanted = list(jobs)
        found = self._queued(wanted)
        forgotten = [job for job in wanted if job not in found]
        if forgotten:
            found |= self._accounted(forgotten)
        return {job: found.get(job) or JobStatus(job, JobPhase.ENDED, end=JobEnd.UNKNOWN) for job in wanted}

    def signal(self, job: str, signum: signal.Signals) -> None:
        while self.poll([job])[job].phase is JobPhase.PENDING:
            run_slurm(["scancel", "--state=PENDING", job], unless=_OVER)
            time.sleep(0.05)
        # --batch: only the script's own process, which is our supervisor; the program hears from that.
        run_slurm(["scancel", "--batch", f"--signal={signum.name.removeprefix('SIG')}", job], unless=_OVER)

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


def _options_of(script: str) -> list[str]:
    lines = (line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH "))
    return [word for line in lines for word in shlex.split(line)]


def _for_a_job(environ: Mapping[str, str]) -> dict[str, str]:
    """*environ* without what it says of a job that we are part of ourselves (its restarts would be taken for the new job's), and
    without what makes sbatch another command."""
    return {
        name: value
        for name, value in environ.items()
        if not (name.startswith("SLURM_") and name not in _SBATCH_READS) and name not in _OTHER_COMMANDS
    }
