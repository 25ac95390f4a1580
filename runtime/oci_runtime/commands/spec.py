"""`spec [--rootless]`: a configuration to begin with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from runtime.errors import ContainerError
from runtime.oci_runtime.command_line import Command, Context, Option, Parsed
from runtime.oci_runtime.record import OCI_VERSION
from runtime.rootfs.covered_paths import MASKED, READONLY

_OPTIONS = (
    Option("bundle", "b", True, "the directory that gets it"),
    Option("rootless", "", False, "for an ordinary user"),
)

_CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")


def _spec(given: Parsed, context: Context) -> int:
    path = Path(given.value("bundle") or ".") / "config.json"
    try:
        with open(path, "x") as file:
            json.dump(document(rootless=given.flag("rootless")), file, indent=2)
            file.write("\n")
    except FileExistsError as error:
        raise ContainerError(f"`{path}` exists", hint="remove it first") from error
    return 0


def document(*, rootless: bool) -> dict[str, Any]:
    """The configuration."""
    namespaces = ["pid", "ipc", "uts", "mount", *(["user"] if rootless else ["network", "cgroup"])]
    linux: dict[str, Any] = {
        "namespaces": [{"type": kind} for kind in namespaces],
        "maskedPaths": list(MASKED),
        "readonlyPaths": list(READONLY),
    }
    if rootless:
        linux["uidMappings"] = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
    else:
        linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    return {
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {kind: list(_CAPABILITIES) for kind in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "launch",
        "mounts": _mounts(rootless=rootless),
        "linux": linux,
    }


def _mounts(*, rootless: bool) -> list[dict[str, Any]]:
    closed = ["nosuid", "noexec", "nodev"]
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *([] if rootless else ["gid=5"])]
    dev = ["nosuid", "strictatime", "mode=755", "size=65536k"]
    sys_mount: dict[str, Any] = {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*closed, "ro"]}
    if rootless:
        sys_mount = {"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", *closed, "ro"]}
    mounts: list[dict[str, Any]] = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": dev},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": pts},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": [*closed, "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": closed},
        sys_mount,
    ]
    if not rootless:
        options = [*closed, "relatime", "ro"]
        mounts.append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options})
    return mounts


COMMANDS = {"spec": Command("[OPTIONS]", _OPTIONS, _spec)}
