"""What Slurm says of itself, judged for runs of ours. Asked by its own programs, which any user may start.

The judges take text and give findings; `slurm_findings` asks. Names of settings: slurm.conf(5), as `scontrol show config` prints.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping

from launcher.errors import LaunchError
from launcher.plan.slurm_program import run_slurm
from runtime.host.finding import Finding, good, off
from runtime.host.machine import Machine

_NEEDED = ("sbatch", "squeue", "scancel", "srun", "scontrol", "sinfo")
_OLDEST = (21, 8)
_DEFAULT_GRACE_S = 30


def slurm_findings(machine: Machine) -> dict[str, Finding]:
    """Everything that can be asked from here; nothing more where there are no programs, or no controller answers."""
    found = {"slurm": programs(machine)}
    if shutil.which("scontrol") is None or shutil.which("sinfo") is None:
        return found
    found["controller"] = controller()
    if not found["controller"].ok:
        return found
    try:
        settings = read_settings(run_slurm(["scontrol", "show", "config"]))
        shown = run_slurm(["sinfo", "--noheader", f"--Format={_PARTITION_FORMAT}"])
    except LaunchError as error:
        return found | {"settings": off(error.message, advice="Slurm's administrators can show them to users (`PrivateData`)")}
    return found | {
        "accounting": accounting(settings),
        "proctrack": process_tracking(settings),
        "confinement": confinement(settings),
        "kill-wait": kill_wait(settings),
        "requeue": requeue(settings),
        "preemption": preemption(settings),
        "job-limits": limits(settings),
        **partitions(shown),
    }


def programs(machine: Machine) -> Finding:
    missing = [program for program in _NEEDED if shutil.which(program) is None]
    if missing:
        listed = ", ".join(f"`{program}`" for program in missing)
        return off(f"{listed} {'is' if len(missing) == 1 else 'are'} not in PATH", command=machine.installing("slurm-client"))
    try:
        return judge_version(run_slurm(["sbatch", "--version"]).strip())
    except LaunchError as error:  # a site's own script in its place, a library that is gone, no configuration
        return off(error.message, advice=error.hint or "runs are submitted by it: `sbatch --version` shows what is wrong")


def judge_version(printed: str) -> Finding:
    """`slurm-wlm 24.11.5`, `slurm 23.02.6`."""
    numbers = re.search(r"([0-9]{1,6})\.([0-9]{1,6})", printed)
    if numbers is not None and (int(numbers[1]), int(numbers[2])) < _OLDEST:
        oldest = f"{_OLDEST[0]}.{_OLDEST[1]:02d}"
        return off(printed, advice=f"launch reads what squeue of {oldest} and later prints: an older one has to be tried out")
    return good(printed)


def controller() -> Finding:
    try:
        words = " ".join(run_slurm(["scontrol", "ping"]).split())
    except LaunchError as error:
        return off(error.message, advice=error.hint or "SLURM_CONF, or /etc/slurm/slurm.conf, says where it is")
    return good(words) if " UP" in words else off(words, advice="nothing can be submitted until it is up")


def read_settings(printed: str) -> dict[str, str]:
    """`Name = value` lines; those of cgroup.conf among them. `(null)` is none."""
    pairs = (line.partition("=") for line in printed.splitlines() if "=" in line)
    return {name.strip(): "" if value.strip() == "(null)" else value.strip() for name, _, value in pairs}


def accounting(settings: Mapping[str, str]) -> Finding:
    kind = settings.get("AccountingStorageType", "")
    if kind and not kind.endswith("/none"):
        return good(f"{kind}: `sacct` knows jobs that the controller has forgotten")
    age = settings.get("MinJobAge", "300 sec")
    return off(
        f"no accounting: a job is forgotten {age} after its end",
        advice="nothing to do: a run's own journal says how it ended; a job that left no word counts as `lost` after that time",
    )


def process_tracking(settings: Mapping[str, str]) -> Finding:
    kind = settings.get("ProctrackType", "")
    if kind.endswith("/cgroup"):
        return good(f"{kind}: nothing of a job outlives it")
    return off(
        f"{kind or 'no ProctrackType'}: Slurm knows a job's processes by their parents",
        advice="runs end their own containers all the same; for other programs of a job `ProctrackType=proctrack/cgroup`",
    )


def confinement(settings: Mapping[str, str]) -> Finding:
    """Whether a job's GPUs and memory are its own. Settings of cgroup.conf stand in the same list."""
    if "cgroup" not in settings.get("TaskPlugin", ""):
        return off(
            f"TaskPlugin={settings.get('TaskPlugin') or 'none'}: a job may use cores, memory and GPUs that it was not given",
            advice="runs keep to theirs; for other jobs on the node `TaskPlugin=task/cgroup,task/affinity`",
        )
    wanted = {"ConstrainRAMSpace": "memory", "ConstrainCores": "cores", "ConstrainDevices": "GPUs"}
    loose = [what for name, what in wanted.items() if name in settings and settings[name].lower() != "yes"]
    if loose:
        return off(
            f"task/cgroup without limits on {', '.join(loose)}", advice="`Constrain…=yes` in cgroup.conf; runs keep to theirs"
        )
    return good(f"TaskPlugin={settings['TaskPlugin']}")


def kill_wait(settings: Mapping[str, str]) -> Finding:
    found = re.match(r"\d+", settings.get("KillWait", ""))
    seconds = int(found[0]) if found else 0
    words = f"{seconds} s between SIGTERM and SIGKILL at `scancel` and at the limit"
    if seconds >= _DEFAULT_GRACE_S:
        return good(words)
    return off(
        words,
        advice=f"a `grace` above it holds for `launch stop` and before the limit, not for a bare `scancel` (default `grace`: "
        f"{_DEFAULT_GRACE_S}s)",
    )


def requeue(settings: Mapping[str, str]) -> Finding:
    if settings.get("JobRequeue") == "1":
        return good("jobs may be queued again: `cluster.requeue=true` lets a run go on by itself")
    return good("JobRequeue=0: jobs are not queued again unless they ask for it, as `cluster.requeue=true` does")


def preemption(settings: Mapping[str, str]) -> Finding:
    mode, kind = settings.get("PreemptMode", "OFF"), settings.get("PreemptType", "")
    if mode.upper() == "OFF" or not kind or kind.endswith("/none"):
        return good("no job is preempted")
    if "SUSPEND" in mode.upper():
        return off(
            f"PreemptMode={mode}", advice="a suspended job stands still with its GPU's memory full; `timeout` goes on counting"
        )
    return good(f"PreemptMode={mode}: `cluster.requeue=true` brings a run back, else it ends as `preempted`")


def limits(settings: Mapping[str, str]) -> Finding:
    jobs, array = (settings.get(name, "?") for name in ("MaxJobCount", "MaxArraySize"))
    return good(f"MaxJobCount={jobs}, MaxArraySize={array} (launch submits no arrays)")


_PARTITION_FORMAT = ",".join(f"{field}:|" for field in ("Partition", "Available", "Time", "NodeAIOT", "Gres"))


def partitions(printed: str) -> dict[str, Finding]:
    """One finding for each: what it has, and whether a job could begin there."""
    rows: dict[str, list[list[str]]] = {}
    for line in printed.splitlines():
        name, *fields = (field.strip() for field in line.split("|")[:5])
        if name and len(fields) == 4:
            rows.setdefault(name, []).append(fields)
    if not rows:
        return {
            "partition": off("no partition is shown", advice="ask whose account may use which: `sacctmgr show assoc user=$USER`")
        }
    return {f"partition {name.rstrip('*')}": _partition(name, kinds) for name, kinds in rows.items()}


def _counts(printed: str) -> list[int]:
    """`1/2/0/3`: allocated, idle, other and all nodes; zeros for what is not understood."""
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})/([0-9]{1,9})/([0-9]{1,9})", printed)
    return [0, 0, 0, 0] if found is None else [int(number) for number in found.groups()]


def _partition(name: str, kinds: list[list[str]]) -> Finding:
    counts = [_counts(kind[2]) for kind in kinds]
    allocated, idle, other, total = (sum(column) for column in zip(*counts, strict=True))
    available, limit = kinds[0][0], kinds[0][1]
    has = ", ".join(sorted({kind[3] for kind in kinds if kind[3] not in ("", "(null)")})) or "no GPUs"
    default = ", the default" if name.endswith("*") else ""
    words = (
        f"{total} node{'' if total == 1 else 's'} ({idle} idle, {allocated} in use, {other} out), {has}, limit {limit}{default}"
    )
    if available != "up":
        return off(f"{available}; {words}", advice="jobs wait there until it is up")
    if total == other:
        return off(words, advice="no node of it is up: `sinfo -R` says why")
    return good(words)
