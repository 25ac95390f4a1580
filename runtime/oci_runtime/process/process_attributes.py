"""What a process gets from outside: resource limits, scheduling, priorities, its place in an out-of-memory kill."""

from __future__ import annotations

import os
import resource
import struct

from runtime.errors import BadContent, ContainerError
from runtime.kernel import libc
from runtime.kernel.number_list import node_mask, number_list
from runtime.oci.linux_config import Linux
from runtime.oci.runtime_config import Process, ResourceLimit, Scheduler

_LIMITS = (  # in the order of their numbers (asm-generic/resource.h)
    "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME"
)
_LIMIT_NUMBERS = {f"RLIMIT_{name}": number for number, name in enumerate(_LIMITS.split())}
_INFINITY = (1 << 64) - 1

_POLICIES = {"OTHER": 0, "FIFO": 1, "RR": 2, "BATCH": 3, "ISO": 4, "IDLE": 5, "DEADLINE": 6}
_SCHED_FLAGS = {
    "RESET_ON_FORK": 0x01,
    "RECLAIM": 0x02,
    "DL_OVERRUN": 0x04,
    "KEEP_POLICY": 0x08,
    "KEEP_PARAMS": 0x10,
    "UTIL_CLAMP_MIN": 0x20,
    "UTIL_CLAMP_MAX": 0x40,
}
_IO_CLASSES = {"RT": 1, "BE": 2, "IDLE": 3}
_MEMORY_MODES = {
    "DEFAULT": 0,
    "PREFERRED": 1,
    "BIND": 2,
    "INTERLEAVE": 3,
    "LOCAL": 4,
    "PREFERRED_MANY": 5,
    "WEIGHTED_INTERLEAVE": 6,
}
_MEMORY_FLAGS = {"STATIC_NODES": 1 << 15, "RELATIVE_NODES": 1 << 14, "NUMA_BALANCING": 1 << 13}


def check_limits(process: Process) -> None:
    """Refuse what no kernel takes. Raises BadContent."""
    for limit in process.rlimits:
        if limit.kind not in _LIMIT_NUMBERS:
            raise BadContent(f"`process.rlimits` names an unknown limit: `{limit.kind}`")
        if limit.soft > limit.hard:
            raise BadContent(f"`process.rlimits`: {limit.kind} has a soft limit ({limit.soft}) above the hard one ({limit.hard})")
    if process.io_priority is not None and process.io_priority[0].removeprefix("IOPRIO_CLASS_") not in _IO_CLASSES:
        raise BadContent(f"`process.ioPriority.class` is unknown: `{process.io_priority[0]}`")
    if process.scheduler is not None:
        scheduler_attributes(process.scheduler)


def set_limits(pid: int, process: Process) -> None:
    """Set `process.rlimits` of process *pid*."""
    for limit in process.rlimits:
        _set_limit(pid, limit)


def _set_limit(pid: int, limit: ResourceLimit) -> None:
    values = tuple(-1 if value >= _INFINITY else value for value in (limit.soft, limit.hard))
    try:
        resource.prlimit(pid, _LIMIT_NUMBERS[limit.kind], (values[0], values[1]))
    except (OSError, ValueError) as error:
        raise ContainerError(f"cannot set {limit.kind} to {limit.soft}, {limit.hard}: {error}") from error


def set_priorities(pid: int, process: Process, linux: Linux | None = None) -> None:
    """Set `oomScoreAdj`, `scheduler` and `ioPriority` of process *pid*."""
    if process.oom_score_adj is not None:
        try:
            with open(f"/proc/{pid}/oom_score_adj", "w") as file:
                file.write(str(process.oom_score_adj))
        except OSError as error:
            why = os.strerror(error.errno or 0).lower()
            raise ContainerError(f"cannot set `oomScoreAdj` to {process.oom_score_adj}: {why}") from error
    if process.scheduler is not None:
        libc.sched_setattr(pid, scheduler_attributes(process.scheduler))
    if process.io_priority is not None:
        name, level = process.io_priority
        libc.ioprio_set(pid, _IO_CLASSES[name.removeprefix("IOPRIO_CLASS_")] << 13 | level)


def scheduler_attributes(scheduler: Scheduler) -> bytes:
    """A struct sched_attr (sched_setattr(2)). Raises BadContent."""
    policy = _POLICIES.get(scheduler.policy.removeprefix("SCHED_"))
    if policy is None:
        raise BadContent(f"`process.scheduler.policy` is unknown: `{scheduler.policy}`")
    flags = 0
    for flag in scheduler.flags:
        if flag.removeprefix("SCHED_FLAG_") not in _SCHED_FLAGS:
            raise BadContent(f"`process.scheduler.flags` names an unknown flag: `{flag}`")
        flags |= _SCHED_FLAGS[flag.removeprefix("SCHED_FLAG_")]
    return struct.pack(
        "=IIQiIQQQ",
        48,
        policy,
        flags,
        scheduler.nice,
        scheduler.priority,
        scheduler.runtime_ns,
        scheduler.deadline_ns,
        scheduler.period_ns,
    )


def memory_policy(linux: Linux) -> tuple[int, bytes, int] | None:
    """Arguments of set_mempolicy(2) for `linux.memoryPolicy`. Raises BadContent."""
    wanted = linux.memory_policy
    if wanted is None:
        return None
    mode = _MEMORY_MODES.get(wanted.mode.removeprefix("MPOL_"))
    if mode is None:
        raise BadContent(f"`linux.memoryPolicy.mode` is unknown: `{wanted.mode}`")
    for flag in wanted.flags:
        if flag.removeprefix("MPOL_F_") not in _MEMORY_FLAGS:
            raise BadContent(f"`linux.memoryPolicy.flags` names an unknown flag: `{flag}`")
        mode |= _MEMORY_FLAGS[flag.removeprefix("MPOL_F_")]
    return mode, *node_mask(number_list(wanted.nodes))
