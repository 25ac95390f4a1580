"""What squeue and sacct print, as JobStatus. Pure.

Asked for fields with a bar behind each (`--Format=NAME:|`), not for `--json`: that needs a plugin which is not built everywhere,
and its fields change with the release. States: squeue(1), "JOB STATE CODES".
"""

from __future__ import annotations

from launcher.cluster.engine import JobEnd, JobPhase, JobStatus
from launcher.errors import LaunchError

SQUEUE_FIELDS = ("JobID", "State", "Reason", "NodeList", "RestartCnt", "exit_code")
SQUEUE_FORMAT = ",".join(f"{field}:|" for field in SQUEUE_FIELDS)
SACCT_FIELDS = ("JobIDRaw", "State", "Reason", "NodeList", "Restarts", "ExitCode")

_PHASES = {
    "PENDING": JobPhase.PENDING,
    "CONFIGURING": JobPhase.PENDING,
    "REQUEUED": JobPhase.PENDING,
    "REQUEUE_HOLD": JobPhase.PENDING,
    "REQUEUE_FED": JobPhase.PENDING,
    "RESV_DEL_HOLD": JobPhase.PENDING,
    "SPECIAL_EXIT": JobPhase.PENDING,
    "POWER_UP_NODE": JobPhase.PENDING,
    "RUNNING": JobPhase.RUNNING,
    "RESIZING": JobPhase.RUNNING,
    "SUSPENDED": JobPhase.RUNNING,
    "STOPPED": JobPhase.RUNNING,
    "SIGNALING": JobPhase.RUNNING,
    "COMPLETING": JobPhase.ENDING,
    "STAGE_OUT": JobPhase.ENDING,
}
_ENDS = {
    "COMPLETED": JobEnd.COMPLETED,
    "FAILED": JobEnd.FAILED,
    "LAUNCH_FAILED": JobEnd.FAILED,
    "RECONFIG_FAIL": JobEnd.FAILED,
    "CANCELLED": JobEnd.CANCELLED,
    "REVOKED": JobEnd.CANCELLED,
    "TIMEOUT": JobEnd.TIMEOUT,
    "DEADLINE": JobEnd.TIMEOUT,
    "OUT_OF_MEMORY": JobEnd.OUT_OF_MEMORY,
    "NODE_FAIL": JobEnd.NODE_FAILED,
    "BOOT_FAIL": JobEnd.NODE_FAILED,
    "PREEMPTED": JobEnd.PREEMPTED,
}
_NOTHING = ("", "None", "(null)", "None assigned", "N/A", "n/a")


def squeue_jobs(printed: str) -> dict[str, JobStatus]:
    """The jobs in the output of `squeue --noheader --Format=SQUEUE_FORMAT`."""
    return _jobs(printed, program="squeue")


def sacct_jobs(printed: str) -> dict[str, JobStatus]:
    """The jobs in the output of `sacct --noheader --parsable2 --allocations`; of a requeued job the last attempt."""
    return _jobs(printed, program="sacct")


def _jobs(printed: str, *, program: str) -> dict[str, JobStatus]:
    statuses = [_status(line, program) for line in printed.splitlines() if line.strip()]
    return {status.job: status for status in statuses}


def _status(line: str, program: str) -> JobStatus:
    words = [word.strip() for word in line.rstrip("|").split("|")]
    if len(words) != len(SQUEUE_FIELDS) or not words[0].isdigit():
        raise LaunchError(f"`{program}` printed a line that is not understood: `{line.strip()}`")
    job, state, why, nodes, restarts, ended = words
    phase, end = _phase_and_end(state, program)
    code, signum = _exit(ended) if phase is JobPhase.ENDED else (None, None)
    return JobStatus(
        job,
        phase,
        why=None if why in _NOTHING else why,
        nodes=None if nodes in _NOTHING else nodes,
        attempt=1 + (int(restarts) if restarts.isdigit() else 0),
        end=end,
        exit_code=code,
        signal=signum,
    )


def _phase_and_end(state: str, program: str) -> tuple[JobPhase, JobEnd | None]:
    word = state.split()[0].rstrip("+") if state.split() else ""  # sacct: `CANCELLED by 1000`
    if word in _PHASES:
        return _PHASES[word], None
    if word in _ENDS:
        return JobPhase.ENDED, _ENDS[word]
    raise LaunchError(f"`{program}` names a job state that is not understood: `{state}`")


def _exit(written: str) -> tuple[int | None, int | None]:
    """`3:0`: exit code, and the signal that ended it."""
    code, _, signum = written.partition(":")
    if not (code.isdigit() and signum.isdigit()):
        return None, None
    return int(code), int(signum) or None
