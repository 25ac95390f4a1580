"""What squeue and sacct print, as JobStatus. Pure.

Asked for fields with a bar behind each (`--Format=NAME:|`), not for `--json`: that needs a plugin which is not built everywhere,
and its fields change with the release. States: squeue(1), "JOB STATE CODES".
"""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cluster.engine import JobEnd, JobPhase, JobStatus
from launcher.errors import LaunchError

SQUEUE_FIELDS = ("JobID", "State", "Reason", "NodeList", "RestartCnt", "exit_code", "PreemptTime")
SQUEUE_FORMAT = ",".join(f"{field}:|" for field in SQUEUE_FIELDS)
SACCT_FIELDS = ("JobIDRaw", "State", "NodeList", "ExitCode")
"""What every sacct has known; one that is asked for a field it doesn't know says nothing else either."""

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
    "SUSPENDED": JobPhase.SUSPENDED,
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
_HELD = {
    "JobHeldUser": "somebody holds it back: `scontrol release JOB`",
    "JobHeldAdmin": "an administrator holds it back",
}
_NEVER = frozenset(
    {
        "AccountNotAllowed",
        "BadConstraints",
        "DependencyNeverSatisfied",
        "InvalidAccount",
        "InvalidQOS",
        "PartitionNodeLimit",
        "PartitionTimeLimit",
        "QOSNotAllowed",
    }
)
"""With the limits of one job (`QOSMaxNodePerJobLimit`): reasons that time alone does not end (squeue(1), "JOB REASON CODES")."""
_NOTHING = ("", "None", "(null)", "None assigned", "N/A", "n/a")


def advice_on(reason: str) -> str | None:
    """What to do about a job that waits for *reason*; None where it is to wait."""
    if reason in _NEVER or "PerJob" in reason:
        return "it cannot begin as it is asked for: stop it, and ask otherwise (`launch doctor --cluster` shows limits)"
    return _HELD.get(reason)


def squeue_jobs(printed: str) -> dict[str, JobStatus]:
    """The jobs in the output of `squeue --noheader --Format=SQUEUE_FORMAT`."""
    return _jobs([line.rstrip().removesuffix("|") for line in printed.splitlines()], SQUEUE_FIELDS, program="squeue")


def sacct_jobs(printed: str) -> dict[str, JobStatus]:
    """The jobs in the output of `sacct --noheader --parsable2 --allocations`; of a requeued job the last attempt."""
    return _jobs(printed.splitlines(), SACCT_FIELDS, program="sacct")


def _jobs(lines: Sequence[str], fields: Sequence[str], *, program: str) -> dict[str, JobStatus]:
    statuses = [_status(line, fields, program) for line in lines if line.strip()]
    return {status.job: status for status in statuses}


def _status(line: str, fields: Sequence[str], program: str) -> JobStatus:
    words = [word.strip() for word in line.split("|")]
    if len(words) != len(fields) or not _is_number(words[0]):
        # Not passed over: the job that it is about would then count as unknown, and its run be closed.
        raise LaunchError(f"`{program}` printed a line that is not understood: `{line.strip()}`")
    values = {field: word for field, word in zip(fields, words, strict=True) if word not in _NOTHING}
    phase, end = _phase_and_end(values.get("State", ""))
    code, signum = _exit(values.get("ExitCode") or values.get("exit_code", "")) if phase is JobPhase.ENDED else (None, None)
    restarts = values.get("RestartCnt", "")
    why = values.get("Reason")
    return JobStatus(
        words[0],
        phase,
        why=why,
        advice=advice_on(why) if why is not None and phase is JobPhase.PENDING else None,
        nodes=values.get("NodeList"),
        attempt=1 + (int(restarts) if _is_number(restarts) else 0),
        preempted=end is JobEnd.PREEMPTED or "PreemptTime" in values,
        end=end,
        exit_code=code,
        signal=signum,
    )


def _phase_and_end(state: str) -> tuple[JobPhase, JobEnd | None]:
    word = state.split()[0].rstrip("+") if state.split() else ""  # sacct: `CANCELLED by 1000`
    if word in _PHASES:
        return _PHASES[word], None
    if word in _ENDS:
        return JobPhase.ENDED, _ENDS[word]
    # A newer Slurm's: whatever it is, it does not say that the job is over, and other runs are asked about in the same poll.
    return JobPhase.RUNNING, None


def _exit(written: str) -> tuple[int | None, int | None]:
    """`3:0`: exit code, and the signal that ended it."""
    code, _, signum = written.partition(":")
    if not (_is_number(code) and _is_number(signum)):
        return None, None
    return int(code), int(signum) or None


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 19
