"""The kernel itself: its age, /proc, system call filters, pressure."""

from __future__ import annotations

import os
from pathlib import Path

from runtime.host.finding import Finding, Remedy, good, off, try_out
from runtime.host.machine import Machine
from runtime.kernel import id_maps, libc, mounts, namespaces, processes, seccomp
from runtime.kernel.capabilities import PROGRAM_CAPABILITIES
from runtime.kernel.mountinfo import parse_mountinfo

OLDEST_KERNEL = (5, 15)


def version(machine: Machine) -> Finding:
    release = machine.text("/proc/sys/kernel/osrelease")
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    words = f"Linux {release} on {os.uname().machine}"
    if numbers >= OLDEST_KERNEL:
        return good(words)
    return off(
        words, advice=f"Linux {'.'.join(map(str, OLDEST_KERNEL))} or later is needed: a newer kernel or release of this system"
    )


def root(machine: Machine) -> Finding:
    if machine.uid == 0:
        return good("running as root: containers get an unprivileged range of ids")
    return off(
        f"running as uid {machine.uid}: containers get this user's ids, and `pasta` in place of a bridge",
        advice="nothing to do: `launch` works without root",
    )


def proc(machine: Machine) -> Finding:
    def work() -> str:
        maps = id_maps.choose()
        namespaces.enter_user_namespace(namespaces.make_user_namespace(maps), maps)
        libc.unshare(processes.NEWNS | processes.NEWPID)
        pid = processes.run_in_child(_mount_proc)  # the first process of the new pid namespace may mount its /proc
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status != 0:
            covered = ", ".join(covered_below_proc(machine)[:5])
            raise OSError(status, f"no /proc of its own: {os.strerror(status).lower()}; covered here: {covered}")
        return "a container can have its own /proc"

    return try_out(work, lambda: _proc_remedy(machine))


def _mount_proc() -> int:
    try:
        mounts.new_mount("proc")
    except OSError as error:
        return error.errno or 1
    return 0


def covered_below_proc(machine: Machine) -> list[str]:
    """Mount points on top of /proc: as long as there are any, nobody without privileges may mount another one."""
    mounted = parse_mountinfo(machine.text("/proc/self/mountinfo"))
    return [mount.point for mount in mounted if mount.point.startswith("/proc/")]


def _proc_remedy(machine: Machine) -> Remedy:
    if not covered_below_proc(machine):
        return Remedy()
    return Remedy("inside Docker or Podman start the outer container with `--security-opt systempaths=unconfined`")


def system_call_filters(machine: Machine) -> Finding:
    def work() -> str:
        processes.forbid_new_privileges()
        program = seccomp.program_bytes(PROGRAM_CAPABILITIES)
        libc.seccomp_set_filter(program)
        return f"system calls are filtered ({len(program) // 8} instructions)"

    return try_out(work, lambda: Remedy("the kernel needs CONFIG_SECCOMP_FILTER"))


def pressure(machine: Machine) -> Finding:
    """Whether the kernel measures how long processes wait for CPU, memory and disks."""
    # Some kernels have the files and refuse to open them: built in, and switched off.
    if machine.text("/proc/pressure/memory"):
        return good("the record says how long a run waited for CPU, memory and disks")
    if machine.has("/proc/pressure/memory") or "CONFIG_PSI_DEFAULT_DISABLED=y" in _build_configuration(machine):
        advice, command = "boot with `psi=1`; runs work without", machine.booting_with("psi=1")
        return off("the kernel measures no pressure (PSI): switched off", advice=advice, command=command)
    return off("the kernel measures no pressure (PSI)", advice="it was built without CONFIG_PSI; runs work without")


def _build_configuration(machine: Machine) -> str:
    return machine.text(str(Path("/boot") / f"config-{machine.text('/proc/sys/kernel/osrelease')}"))
