"""What a program is to Linux' security modules: its AppArmor profile and SELinux label, which it gets as it is executed.

Both are written to a file of the process itself (proc_pid_attr(5)). That file is looked up on the machine's own /proc, opened
before a container's mounts are in sight: a container that puts something over its /proc would have us believe that we wrote, or
write elsewhere (CVE-2019-16884, CVE-2025-52881).
"""

from __future__ import annotations

import errno
import os

from runtime.errors import ContainerError, Unsupported
from runtime.kernel import libc
from runtime.light_typing import NamedTuple
from runtime.oci.runtime_config import Process

_RESOLVE_NO_XDEV = 1
_PROC_SUPER_MAGIC = 0x9FA0
_APPARMOR = "/sys/module/apparmor/parameters/enabled"
_SELINUX = "/sys/fs/selinux/enforce"


class Labels(NamedTuple):
    """What is to be written, and where."""

    apparmor: str | None
    selinux: str | None
    no_new_privileges: bool
    proc: int
    """The machine's /proc."""

    def apply(self) -> None:
        """Have this process get its labels at its next exec. Raises ContainerError."""
        if self.apparmor is not None:
            word = apparmor_word(_read(self.proc, "attr/apparmor/current"), no_new_privileges=self.no_new_privileges)
            self._write("AppArmor profile", self.apparmor, "attr/apparmor/exec", f"{word} {self.apparmor}")
        if self.selinux is not None:
            self._write("SELinux label", self.selinux, "attr/exec", self.selinux)
        os.close(self.proc)

    def _write(self, what: str, label: str, path: str, text: str) -> None:
        fd = _open_attribute(self.proc, path, os.O_WRONLY)
        try:
            os.write(fd, text.encode())
        except OSError as error:
            why = os.strerror(error.errno or 0).lower()
            hint = "is it loaded? `aa-status` lists those that are" if error.errno == errno.ENOENT else None
            raise ContainerError(f"the kernel refuses the {what} `{label}`: {why}", hint=hint) from error
        finally:
            os.close(fd)


def labels_of(process: Process) -> Labels | None:
    """The labels that *process* asks for; None without any. Raises Unsupported where the kernel would not enforce them: who asks
    for confinement must not run without, which is what runc says, too."""
    if process.apparmor_profile and not apparmor_is_on():
        raise Unsupported(
            f"`process.apparmorProfile` is `{process.apparmor_profile}`, and AppArmor is off on this machine",
            hint="leave it out of the configuration, or boot with `apparmor=1 security=apparmor`",
        )
    if process.selinux_label and not selinux_is_on():
        raise Unsupported(
            f"`process.selinuxLabel` is `{process.selinux_label}`, and SELinux is off on this machine",
            hint="leave it out of the configuration, or boot with `selinux=1 security=selinux`",
        )
    if not process.apparmor_profile and not process.selinux_label:
        return None
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return Labels(process.apparmor_profile or None, process.selinux_label or None, process.no_new_privileges, proc)


def selinux_is_on() -> bool:
    return os.path.exists(_SELINUX)


def apparmor_is_on() -> bool:
    try:
        with open(_APPARMOR) as file:
            return file.read(1) == "Y"
    except OSError:
        return False


def apparmor_word(current: str, *, no_new_privileges: bool) -> str:
    """How a process whose profile is *current* asks for another: confined and without new privileges it may only add to its own
    (apparmor_stack(2))."""
    unconfined = current.split(" ")[0].strip() == "unconfined"
    return "stack" if no_new_privileges and not unconfined else "exec"


def _read(proc: int, path: str) -> str:
    with open(_open_attribute(proc, path, os.O_RDONLY)) as file:
        return file.read()


def _open_attribute(proc: int, path: str, flags: int) -> int:
    """A file of this thread on *proc*, which must be a /proc, with nothing mounted over what leads there."""
    if libc.fstatfs_type(proc) != _PROC_SUPER_MAGIC:
        raise ContainerError("/proc is not a proc file system")
    return libc.openat2(proc, f"thread-self/{path}", flags | os.O_CLOEXEC, resolve=_RESOLVE_NO_XDEV)
