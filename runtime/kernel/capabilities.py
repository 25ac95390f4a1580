"""Capability numbers, and the sets that programs in a container keep (capabilities(7), linux/capability.h).

Sets only: the calls that drop and raise them are in `libc.py`. All of them are held in the container's own user namespace, so
they reach the container's ids, mounts and network and nothing of the host.
"""

from __future__ import annotations

from collections.abc import Iterable

_NAMES = (  # in the order of their numbers, from 0
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST "
    "NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE "
    "SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM "
    "BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)

NUMBERS: dict[str, int] = {f"CAP_{name}": number for number, name in enumerate(_NAMES.split())}

PROGRAM_CAPABILITIES = frozenset(
    {
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_NET_BIND_SERVICE",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_SETUID",
        "CAP_SYS_CHROOT",
    }
)
"""What the program keeps: Docker's default without MKNOD and AUDIT_WRITE, which a user namespace makes void, without NET_RAW,
which lets a program forge packets on the bridge (ping works without it), and without SETFCAP: where the container's root is the
machine's on disk (writable mounts of root's), a file's capabilities would count on the machine."""

BUILD_CAPABILITIES = PROGRAM_CAPABILITIES | {"CAP_MKNOD", "CAP_AUDIT_WRITE", "CAP_SETFCAP"}
"""What a build step keeps: dpkg's and pip's programs ask for the first two and some stop when the *call* is refused, and packages
give their programs capabilities."""


def mask(capabilities: Iterable[str]) -> int:
    """The bit mask that capset(2) and /proc/PID/status use. Raises KeyError for a name that no kernel knows."""
    bits = 0
    for name in capabilities:
        bits |= 1 << NUMBERS[name]
    return bits
