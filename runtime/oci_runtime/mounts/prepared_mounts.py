"""What only the command's own user namespace allows: id maps of a new one, and bind mounts whose sources the container's root may
not see or whose owners are shown through a map.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from runtime.errors import BadContent, ContainerError
from runtime.kernel import mounts, namespaces
from runtime.kernel.id_maps import Extent, IdMap, IdMapKind, IdMaps
from runtime.kernel.processes import is_root_of_machine
from runtime.oci.linux_config import IdMapping, Linux
from runtime.oci.runtime_config import RuntimeConfig
from runtime.oci_runtime.mounts.container_mounts import bind_source, clone_source
from runtime.oci_runtime.mounts.device_nodes import KINDS as DEVICE_KINDS
from runtime.oci_runtime.mounts.mount_options import MS_PRIVATE, MS_SHARED, MS_SLAVE, MS_UNBINDABLE, plan_mount


def id_map(mappings: Sequence[IdMapping]) -> IdMap:
    return IdMap(tuple(Extent(one.inside, one.outside, one.size) for one in mappings))


def write_container_maps(pid: int, linux: Linux) -> None:
    """Give the new user namespace of process *pid* its maps: directly as root, for a single id of ours, else by newuidmap."""
    uids, gids = linux.uid_mappings, linux.gid_mappings
    if not uids or not gids:
        raise BadContent("`linux` has a new user namespace and no `uidMappings` or `gidMappings`")
    own = (os.geteuid(), os.getegid())
    if os.geteuid() == 0:
        kind = IdMapKind.RANGED
    elif len(uids) == len(gids) == 1 and (uids[0].outside, gids[0].outside) == own and uids[0].size == gids[0].size == 1:
        kind = IdMapKind.SINGLE
    else:
        kind = IdMapKind.SUBIDS
    try:
        namespaces.write_maps(pid, IdMaps(kind, id_map(uids), id_map(gids)))
    except OSError as error:
        raise ContainerError(f"cannot map the ids of `linux.uidMappings`: {error.strerror}") from error


def prepare_mounts(config: RuntimeConfig, bundle: Path) -> dict[int, int]:
    """Number of the mount → its tree, for the bind mounts that are made here."""
    user = config.linux.namespace("user")
    prepared: dict[int, int] = {}
    for index, mount in enumerate(config.mounts):
        plan = plan_mount(mount.kind, mount.options)
        mapped = plan.id_mapped or bool(mount.uid_mappings)
        if not plan.bind or plan.remount or not (mapped or (user is not None and os.geteuid() == 0)):
            continue
        source = bind_source(mount, bundle)
        if plan.copy_symlink and source.is_symlink():
            continue
        try:
            prepared[index] = tree = clone_source(source, plan)
            if not plan.propagation & (MS_SHARED | MS_SLAVE | MS_UNBINDABLE):
                mounts.set_attributes(tree, propagation=MS_PRIVATE, recursive=True)
            if mapped:
                uids, gids = mount.uid_mappings or config.linux.uid_mappings, mount.gid_mappings or config.linux.gid_mappings
                if not uids or not gids:
                    raise BadContent(f"the mount at `{mount.destination}` shall be id-mapped and there are no mappings")
                mounts.id_map(tree, namespaces.make_mapping(id_map(uids), id_map(gids)), recursive=plan.id_mapped_recursive)
        except OSError as error:
            raise ContainerError(f"cannot mount `{source}` at `{mount.destination}`: {error.strerror}") from error
    return prepared


def prepare_devices(linux: Linux) -> dict[str, int]:
    """Path → a node for it, for those of `linux.devices` that root of a new user namespace can't make. Empty before Linux 6.15,
    which clones no part of a mount without a place: then the machine's nodes are bound."""
    if linux.namespace("user") is None or not linux.uid_mappings or not is_root_of_machine():
        return {}
    prepared: dict[str, int] = {}
    try:
        nodes = mounts.new_mount("tmpfs", {"mode": "755"}, attributes=mounts.ATTR_NOSUID | mounts.ATTR_NOEXEC)
        for number, device in enumerate(device for device in linux.devices if device.kind in ("b", "c", "u")):
            mode = 0o666 if device.mode is None else stat.S_IMODE(device.mode)
            os.mknod(str(number), DEVICE_KINDS[device.kind] | mode, os.makedev(device.major, device.minor), dir_fd=nodes)
            os.chmod(str(number), mode, dir_fd=nodes)
            uid, gid = id_map(linux.uid_mappings).outside(device.uid), id_map(linux.gid_mappings).outside(device.gid)
            os.chown(str(number), -1 if uid is None else uid, -1 if gid is None else gid, dir_fd=nodes)
            prepared[device.path] = mounts.clone_tree(str(number), at=nodes)
        os.close(nodes)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise ContainerError(f"cannot make the devices: {error.strerror}") from error
    return prepared
