"""Which kernel parameters a container may set: those of a namespace of its own, and their setting (config-linux.md, "Sysctl")."""

from __future__ import annotations

import os

from runtime.errors import ContainerError
from runtime.oci.runtime_config import RuntimeConfig

_OF_IPC = frozenset(
    f"kernel.{name}"
    for name in (
        "msgmax",
        "msgmnb",
        "msgmni",
        "sem",
        "shmall",
        "shmmax",
        "shmmni",
        "shm_rmid_forced",
        "shm_next_id",
        "msg_next_id",
    )
) | {"kernel.sem_next_id", "kernel.auto_msgmni"}


def write_settings(config: RuntimeConfig) -> None:
    """Set `linux.sysctl`, by a process that is in the container's namespaces. Raises ContainerError."""
    for name, value in config.linux.sysctl:
        check_setting(name, value, config)
        # sysctl(8): with a slash in the name dots are part of it, as in the name of a VLAN's interface.
        path = "/proc/sys/" + (name if "/" in name else name.replace(".", "/"))
        try:
            with open(path, "w") as file:
                file.write(value)
        except OSError as error:
            raise ContainerError(f"cannot set `{name}` to `{value}`: {os.strerror(error.errno or 0).lower()}") from error


def check_setting(name: str, value: str, config: RuntimeConfig) -> None:
    """Raises ContainerError when *name* would be set for others, too."""
    dotted = name.replace("/", ".")
    if dotted == "kernel.hostname":
        raise ContainerError("`kernel.hostname` is what `hostname` is for")
    if dotted == "kernel.domainname" and config.domainname and config.domainname != value:
        raise ContainerError("`kernel.domainname` says something else than `domainname`")
    kind = _namespace(dotted)
    if kind is None or ".." in name:
        raise ContainerError(f"`{name}` belongs to no namespace: a container can't have its own value")
    if config.linux.namespace(kind) is None:
        raise ContainerError(f"`{name}` belongs to the `{kind}` namespace, and the container has none of its own")


def _namespace(dotted: str) -> str | None:
    if dotted.startswith("net."):
        return "network"
    if dotted in _OF_IPC or dotted.startswith("fs.mqueue."):
        return "ipc"
    return "uts" if dotted == "kernel.domainname" else None
