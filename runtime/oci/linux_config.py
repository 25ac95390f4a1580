"""The `linux` part of a bundle's configuration (runtime-spec 1.2, config-linux.md), read strictly. No I/O.

`resources` has a file of its own, `resource_config.py`.
"""

from __future__ import annotations

from runtime.errors import BadContent
from runtime.light_typing import NamedTuple
from runtime.oci.json_fields import Fields
from runtime.oci.resource_config import Resources, resources_from_fields

NAMESPACES = ("user", "mount", "pid", "network", "ipc", "uts", "cgroup", "time")
PROPAGATIONS = ("shared", "slave", "private", "unbindable", "rshared", "rslave", "rprivate", "runbindable")
_DEVICE_KINDS = ("a", "b", "c", "u", "p")


class Namespace(NamedTuple):
    """One of `namespaces`; without a path it is a new one."""

    kind: str
    path: str | None


class IdMapping(NamedTuple):
    """*size* ids from *inside* are those from *outside*."""

    inside: int
    outside: int
    size: int


class Device(NamedTuple):
    """One of `devices`: a node to be made."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int | None
    uid: int
    gid: int


class SeccompArgument(NamedTuple):
    """A condition on one argument of a call."""

    number: int
    value: int
    value_two: int
    op: str


class SeccompRule(NamedTuple):
    """What becomes of the calls *names* when all of *args* hold."""

    names: tuple[str, ...]
    action: str
    errno: int | None
    args: tuple[SeccompArgument, ...]


class Seccomp(NamedTuple):
    """`seccomp`."""

    default_action: str
    default_errno: int | None
    architectures: tuple[str, ...]
    flags: tuple[str, ...]
    listener_path: str | None
    listener_metadata: str
    rules: tuple[SeccompRule, ...]


class MemoryPolicy(NamedTuple):
    """`memoryPolicy` (set_mempolicy(2))."""

    mode: str
    nodes: str
    flags: tuple[str, ...]


class Linux(NamedTuple):
    """`linux`; what the document leaves out is empty."""

    namespaces: tuple[Namespace, ...] = ()
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()
    time_offsets: tuple[tuple[str, int, int], ...] = ()
    """Clock, seconds, nanoseconds."""
    devices: tuple[Device, ...] = ()
    cgroups_path: str | None = None
    resources: Resources = Resources()
    sysctl: tuple[tuple[str, str], ...] = ()
    seccomp: Seccomp | None = None
    rootfs_propagation: str | None = None
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    mount_label: str | None = None
    personality: str | None = None
    memory_policy: MemoryPolicy | None = None
    net_devices: tuple[tuple[str, str], ...] = ()
    """(name on the machine, name inside)."""

    def namespace(self, kind: str) -> Namespace | None:
        """The entry for *kind*; None: the container shares the runtime's."""
        return next((one for one in self.namespaces if one.kind == kind), None)


def linux_from_fields(fields: Fields | None) -> Linux:
    """The part; without one nothing is isolated. Raises BadContent."""
    if fields is None:
        return Linux()
    propagation = fields.text("rootfsPropagation") or None
    if propagation is not None and propagation not in PROPAGATIONS:
        raise BadContent(f"`linux.rootfsPropagation` is none of {', '.join(PROPAGATIONS)}: `{propagation}`")
    personality = fields.child("personality")
    return Linux(
        namespaces=_namespaces(fields),
        uid_mappings=id_mappings(fields, "uidMappings"),
        gid_mappings=id_mappings(fields, "gidMappings"),
        time_offsets=_time_offsets(fields.child("timeOffsets")),
        devices=tuple(_device(one) for one in fields.children("devices")),
        cgroups_path=fields.text("cgroupsPath") or None,
        resources=resources_from_fields(fields.child("resources")),
        sysctl=tuple(fields.text_map("sysctl").items()),
        seccomp=_seccomp(fields.child("seccomp")),
        rootfs_propagation=propagation,
        masked_paths=fields.texts("maskedPaths"),
        readonly_paths=fields.texts("readonlyPaths"),
        mount_label=fields.text("mountLabel"),
        personality=None if personality is None else personality.required_text("domain"),
        memory_policy=_memory_policy(fields.child("memoryPolicy")),
        net_devices=_net_devices(fields.child("netDevices"), fields),
    )


def id_mappings(fields: Fields, name: str) -> tuple[IdMapping, ...]:
    """A list of mappings. Raises BadContent."""
    return tuple(
        IdMapping(
            one.required_integer("containerID", lowest=0, highest=0xFFFFFFFF),
            one.required_integer("hostID", lowest=0, highest=0xFFFFFFFF),
            one.required_integer("size", lowest=1, highest=0xFFFFFFFF),
        )
        for one in fields.children(name)
    )


def _namespaces(fields: Fields) -> tuple[Namespace, ...]:
    found: list[Namespace] = []
    for one in fields.children("namespaces"):
        namespace = Namespace(one.required_text("type"), one.text("path") or None)
        if namespace.kind not in NAMESPACES:
            raise BadContent(f"`linux.namespaces` names an unknown type: `{namespace.kind}`")
        if namespace.kind in (other.kind for other in found):
            raise BadContent(f"`linux.namespaces` names `{namespace.kind}` twice")
        if namespace.path is not None and not namespace.path.startswith("/"):
            raise BadContent(f"the path of namespace `{namespace.kind}` is not absolute: `{namespace.path}`")
        found.append(namespace)
    return tuple(found)


def _time_offsets(fields: Fields | None) -> tuple[tuple[str, int, int], ...]:
    offsets = []
    for clock in ("monotonic", "boottime"):
        one = None if fields is None else fields.child(clock)
        if one is not None:
            offsets.append((clock, one.integer("secs") or 0, one.integer("nanosecs") or 0))
    return tuple(offsets)


def _device(fields: Fields) -> Device:
    device = Device(
        path=fields.required_text("path"),
        kind=fields.required_text("type"),
        major=fields.integer("major") or 0,
        minor=fields.integer("minor") or 0,
        mode=fields.integer("fileMode", lowest=0),
        uid=fields.integer("uid", lowest=0) or 0,
        gid=fields.integer("gid", lowest=0) or 0,
    )
    if device.kind not in _DEVICE_KINDS:
        raise BadContent(f"`{fields.where}.type` is no kind of device: `{device.kind}`")
    return device


def _seccomp(fields: Fields | None) -> Seccomp | None:
    if fields is None:
        return None
    return Seccomp(
        default_action=fields.required_text("defaultAction"),
        default_errno=fields.integer("defaultErrnoRet", lowest=0, highest=0xFFFF),
        architectures=fields.texts("architectures"),
        flags=fields.texts("flags"),
        listener_path=fields.text("listenerPath"),
        listener_metadata=fields.text("listenerMetadata") or "",
        rules=tuple(_seccomp_rule(one) for one in fields.children("syscalls")),
    )


def _seccomp_rule(fields: Fields) -> SeccompRule:
    return SeccompRule(
        names=fields.texts("names"),
        action=fields.required_text("action"),
        errno=fields.integer("errnoRet", lowest=0, highest=0xFFFF),
        args=tuple(
            SeccompArgument(
                one.required_integer("index", lowest=0, highest=5),
                one.required_integer("value", lowest=0),
                one.integer("valueTwo", lowest=0) or 0,
                one.required_text("op"),
            )
            for one in fields.children("args")
        ),
    )


def _memory_policy(fields: Fields | None) -> MemoryPolicy | None:
    if fields is None:
        return None
    return MemoryPolicy(fields.required_text("mode"), fields.text("nodes") or "", fields.texts("flags"))


def _net_devices(devices: Fields | None, linux: Fields) -> tuple[tuple[str, str], ...]:
    if devices is None:
        return ()
    names = list(linux.raw("netDevices"))
    return tuple((name, (devices.child(name) or Fields({}, name)).text("name") or name) for name in names)
