"""Slurm, spoken to by its own programs: sbatch, squeue, sacct, scancel.

The controller forgets a job `MinJobAge` (five minutes) after its end; then sacct is asked, and where no accounting is kept the
job has ended and nobody says how: the run's journal usually does.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence

from launcher.cluster.engine import JobEnd, JobPhase, JobStatus
from launcher.cluster.slurm_words import SACCT_FIELDS, SQUEUE_FORMAT, sacct_jobs, squeue_jobs
from launcher.errors import LaunchError

_PATIENCE_S = 60.0
"""Slurm's programs try for half a minute to reach a controller that is being restarted."""

_FORGOTTEN = "Invalid job id specified"
_OVER = ("already completing or completed", _FORGOTTEN)


class Slurm:
    """Implements `engine.Engine`."""

    name = "slurm"

    def submit(self, script: str) -> str:
        printed = _run(["sbatch", "--parsable"], stdin=script)
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
            _run(["scancel", "--state=PENDING", job], unless=_OVER)
            time.sleep(0.05)
        # --batch: only the script's own process, which is our supervisor; the program hears from that.
        _run(["scancel", "--batch", f"--signal={signum.name.removeprefix('SIG')}", job], unless=_OVER)

    def cancel(self, job: str) -> None:
        _run(["scancel", job], unless=_OVER)

    def _queued(self, jobs: Sequence[str]) -> dict[str, JobStatus]:
        argv = ["squeue", "--noheader", "--states=all", f"--jobs={','.join(jobs)}", f"--Format={SQUEUE_FORMAT}"]
        return squeue_jobs(_run(argv, unless=(_FORGOTTEN,)))

    def _accounted(self, jobs: Sequence[str]) -> dict[str, JobStatus]:
        argv = ["sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={','.join(jobs)}"]
        try:
            return sacct_jobs(_run([*argv, f"--format={','.join(SACCT_FIELDS)}"]))
        except LaunchError:
            return {}  # accounting is disabled, or its daemon away: we are no worse off than without


def _run(argv: Sequence[str], *, stdin: str = "", unless: Sequence[str] = ()) -> str:
    """The output of one of Slurm's programs; "" when it fails with words that contain one of *unless*."""
    if shutil.which(argv[0]) is None:
        raise LaunchError(f"`{argv[0]}` is not installed here", hint="`cluster=slurm` needs Slurm's programs in PATH")
    # sbatch takes its defaults from SBATCH_* and hands the environment to the job.
    environ = {**os.environ, "LC_ALL": "C"} if argv[0] != "sbatch" else dict(os.environ)
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=_PATIENCE_S, check=False, env=environ)
    except subprocess.TimeoutExpired as late:
        raise LaunchError(f"`{argv[0]}` has not answered for {_PATIENCE_S:g} s", hint="is the Slurm controller up?") from late
    if done.returncode == 0:
        return done.stdout
    words = done.stderr.strip()
    if any(expected in words for expected in unless):
        return ""
    raise LaunchError(f"`{argv[0]}` failed: {_without_prefix(words, argv[0]) or f'exit code {done.returncode}'}")


def _without_prefix(words: str, program: str) -> str:
    return "; ".join(line.removeprefix(f"{program}: ").removeprefix("error: ") for line in words.splitlines())
