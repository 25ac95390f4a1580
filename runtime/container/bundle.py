"""A ContainerSpec as an OCI bundle's config.json (runtime-spec 1.2, config.md): the record of what a container was.

Pure but for `write_bundle`. Our own containers are not started from it: `child.py` reads the spec. What OCI has no word for
(layers, the locked order of mounts, files in memory) is left to annotations, which hold no content of files.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from runtime.container.spec import ContainerSpec
from runtime.kernel import capabilities
from runtime.kernel.id_maps import IdMap, IdMaps
from runtime.rootfs.system_mounts import READONLY, masked_paths

OCI_VERSION = "1.2.0"
_ANNOTATIONS = "org.launch."
_CFS_PERIOD_US = 100_000


def config_document(spec: ContainerSpec, maps: IdMaps) -> dict[str, Any]:
    """config.json as a document. A variable that is named as one of the files in memory is a secret and left out."""
    return {
        "ociVersion": OCI_VERSION,
        "process": _process(spec),
        "root": {"path": "rootfs", "readonly": spec.readonly_root},
        "hostname": spec.hostname,
        "mounts": _mounts(spec),
        "annotations": {
            f"{_ANNOTATIONS}container": spec.container_id,
            f"{_ANNOTATIONS}layers": str(len(spec.layers)),
            f"{_ANNOTATIONS}network": spec.network,
            f"{_ANNOTATIONS}processes": str(spec.processes),
        },
        "linux": {
            "namespaces": [{"type": kind} for kind in _namespaces(spec)],
            "uidMappings": _mappings(maps.uids),
            "gidMappings": _mappings(maps.gids),
            "resources": _resources(spec),
            "maskedPaths": list(masked_paths()),
            "readonlyPaths": list(READONLY),
        },
    }


def write_bundle(spec: ContainerSpec, maps: IdMaps, bundle: Path) -> Path:
    """Write *bundle*/config.json, for its owner only. The root file system is not mounted there: that is an explicit export."""
    bundle.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = bundle / "config.json"
    fd = os.open(config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(fd, "w") as file:
        json.dump(config_document(spec, maps), file, indent=2)
        file.write("\n")
    return config


def _process(spec: ContainerSpec) -> dict[str, Any]:
    kept = sorted(capabilities.BUILD_CAPABILITIES if spec.build else capabilities.PROGRAM_CAPABILITIES)
    of_root = kept if spec.uid == 0 else []
    secret = {file.target.rpartition("/")[2] for file in spec.tmpfs_files}
    return {
        "terminal": spec.terminal,
        "user": {"uid": spec.uid, "gid": spec.gid, "umask": 0o022},
        "args": list(spec.argv),
        "env": [f"{name}={value}" for name, value in spec.env.items() if name not in secret],
        "cwd": spec.cwd,
        "capabilities": {"bounding": kept, "effective": of_root, "permitted": of_root},
        "noNewPrivileges": True,
    }


def _namespaces(spec: ContainerSpec) -> tuple[str, ...]:
    own = ("user", "mount", "pid", "uts", "ipc", "cgroup")
    return own if spec.network == "host" else (*own, "network")


def _mappings(map_: IdMap) -> list[dict[str, int]]:
    return [{"containerID": one.inside, "hostID": one.outside, "size": one.count} for one in map_.extents]


def _resources(spec: ContainerSpec) -> dict[str, Any]:
    limits = spec.limits
    resources: dict[str, Any] = {"devices": [{"allow": False, "access": "rwm"}]}
    if limits.memory_bytes is not None:
        resources["memory"] = {"limit": limits.memory_bytes, "swap": limits.memory_bytes}
    if limits.cpus is not None:
        resources["cpu"] = {"quota": round(limits.cpus * _CFS_PERIOD_US), "period": _CFS_PERIOD_US}
    if limits.pids is not None:
        resources["pids"] = {"limit": limits.pids}
    return resources


def _mount(kind: str, target: str, *options: str) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": kind, "options": list(options)}


def _mounts(spec: ContainerSpec) -> list[dict[str, Any]]:
    closed = ("nosuid", "nodev", "noexec")
    shm_size = () if spec.shm_bytes is None else (f"size={spec.shm_bytes}",)
    if spec.network == "host":
        sys_mount = {"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "ro", *closed]}
    else:
        sys_mount = _mount("sysfs", "/sys", "ro", *closed)
    mounts = [
        _mount("proc", "/proc", *closed),
        sys_mount,
        _mount("tmpfs", "/dev", "nosuid", "noexec", "mode=755"),
        _mount("devpts", "/dev/pts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
        _mount("tmpfs", "/dev/shm", *closed, "mode=1777", *shm_size),
        _mount("mqueue", "/dev/mqueue", *closed),
    ]
    for bind in spec.binds:
        access = ("ro",) if bind.readonly else ("rw",)
        execution = () if bind.executable else ("noexec",)
        mounts.append(_bind(str(bind.source), bind.target, "rbind", *access, "nosuid", "nodev", *execution))
    for file in spec.host_files:
        mounts.append(_bind(str(file.source), file.target, "rbind", "ro" if file.readonly else "rw", "nosuid", "nodev"))
    for tmpfs in spec.tmpfs:
        size = () if tmpfs.size_bytes is None else (f"size={tmpfs.size_bytes}",)
        mounts.append(_mount("tmpfs", tmpfs.target, "nosuid", "nodev", f"mode={tmpfs.mode:o}", *size))
    mounts.extend(_bind(str(device.source), device.target, "bind") for device in spec.devices)
    return mounts


def _bind(source: str, target: str, *options: str) -> dict[str, Any]:
    return {"destination": target, "type": "none", "source": source, "options": list(options)}
