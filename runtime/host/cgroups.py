"""Limits: whether a container's cgroup gets each controller, and what keeps it from an ordinary user; and whether systemd lets a
user's processes live after logout."""

from __future__ import annotations

import os
from collections.abc import Callable

from runtime.cgroup.hierarchies import hierarchies
from runtime.cgroup.limits import Limits
from runtime.cgroup.own_cgroups import make_cgroup
from runtime.errors import RuntimeFailure
from runtime.host.finding import Finding, Remedy, good, off, try_out
from runtime.host.machine import Machine

_PROBE_LIMITS = Limits(memory_bytes=64 << 20, cpus=1, pids=100)

_WARNED_AS = {"memory": "memory limit", "cpu": "CPUs", "pids": "processes"}
"""Controller → the words of `Cgroup.warnings` about it."""

_DROP_IN = "/etc/systemd/system/user@.service.d"

_V2_ONLY = "systemd.unified_cgroup_hierarchy=1"


def controller(name: str) -> Callable[[Machine], Finding]:
    """The check that a container's limit on *name* is enforced."""

    def check(machine: Machine) -> Finding:
        def work() -> str:
            # In this child: under systemd it moves into a scope of its own, which ends with it.
            cgroup = make_cgroup(f"launch-doctor-{os.getpid()}", _PROBE_LIMITS)
            cgroup.remove()
            refused = [warning for warning in cgroup.warnings if _WARNED_AS[name] in warning]
            if refused:
                raise RuntimeFailure(refused[0])
            directory = cgroup.controllers[name]
            version = "v2" if directory == cgroup.unified else "v1"
            return f"{version}, below `{directory.parent}`"

        return try_out(work, lambda: what_is_missing(machine, name))

    return check


def what_is_missing(machine: Machine, name: str) -> Remedy:
    """Why this user's containers have no controller *name*."""
    own = hierarchies(machine.text("/proc/self/mountinfo"), machine.text("/proc/self/cgroup"))
    if machine.uid == 0:
        return Remedy(
            "inside a container: give it its own writable cgroup (`--cgroupns=private`, a rw mount of /sys/fs/cgroup); under "
            "systemd, start the unit with `Delegate=yes` where it has limits of its own"
        )
    if name in own.legacy:
        return Remedy(
            f"cgroup v1 can't be given to ordinary users: boot with `{_V2_ONLY}`, or run as root", machine.booting_with(_V2_ONLY)
        )
    if not machine.has("/run/systemd/system"):
        return Remedy(
            "without systemd, root has to make a cgroup, give it to you (cgroup-v2.rst, Delegation) and start your shell in it"
        )
    if not machine.has(f"/run/user/{machine.uid}/systemd/private"):
        return Remedy(
            "this user has no manager of systemd's, as after `su`: the command starts one",
            machine.as_root(f"loginctl enable-linger {machine.user}"),
        )
    if name not in _given_to_users(machine):
        lines = "[Service]\\nDelegate=cpu cpuset io memory pids\\n"
        write = f'mkdir -p {_DROP_IN} && printf "{lines}" > {_DROP_IN}/delegate.conf && systemctl daemon-reload'
        return Remedy("log out everywhere and in again after it", machine.as_root(write))
    return Remedy("a job around this one has limits of its own: ask for them there, or start it in a unit with `Delegate=yes`")


def _given_to_users(machine: Machine) -> list[str]:
    """The controllers that the system's manager leaves to this user's."""
    place = f"/sys/fs/cgroup/user.slice/user-{machine.uid}.slice/user@{machine.uid}.service"
    return machine.text(f"{place}/cgroup.controllers").split()


def linger(machine: Machine) -> Finding:
    if machine.uid == 0 or not machine.has("/run/systemd/system"):
        return good("detached runs outlive the login")
    if machine.has(f"/var/lib/systemd/linger/{machine.user}"):
        return good(f"systemd keeps the processes of `{machine.user}` after logout")
    return off("systemd ends detached runs at logout", command=f"loginctl enable-linger {machine.user}")
