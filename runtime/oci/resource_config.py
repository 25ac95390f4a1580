"""`linux.resources` of a bundle's configuration (runtime-spec 1.2, config-linux.md, "Control groups"), read strictly. No I/O."""

from __future__ import annotations

from runtime.errors import BadContent
from runtime.light_typing import Any, NamedTuple
from runtime.oci.json_fields import Fields


class DeviceRule(NamedTuple):
    """One of `devices`: who may do what with a device. None stands for all of them."""

    allow: bool
    kind: str
    major: int | None
    minor: int | None
    access: str


class Memory(NamedTuple):
    """`memory`, bytes; -1 is unlimited."""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    """Memory and swap together."""
    kernel: int | None = None
    kernel_tcp: int | None = None
    swappiness: int | None = None
    disable_oom_killer: bool | None = None
    use_hierarchy: bool | None = None
    check_before_update: bool = False


class Cpu(NamedTuple):
    """`cpu`, microseconds where it is a time."""

    shares: int | None = None
    quota: int | None = None
    burst: int | None = None
    period: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str | None = None
    mems: str | None = None
    idle: int | None = None


class DeviceWeight(NamedTuple):
    """One of `blockIO.weightDevice`."""

    major: int
    minor: int
    weight: int | None
    leaf_weight: int | None


class Throttle(NamedTuple):
    """A limit of one block device; *what* is `read_bps`, `write_bps`, `read_iops` or `write_iops`."""

    what: str
    major: int
    minor: int
    rate: int


class BlockIo(NamedTuple):
    """`blockIO`."""

    weight: int | None = None
    leaf_weight: int | None = None
    weight_devices: tuple[DeviceWeight, ...] = ()
    throttles: tuple[Throttle, ...] = ()


class Resources(NamedTuple):
    """The whole part."""

    devices: tuple[DeviceRule, ...] = ()
    memory: Memory = Memory()
    cpu: Cpu = Cpu()
    pids: int | None = None
    block_io: BlockIo = BlockIo()
    huge_pages: tuple[tuple[str, int], ...] = ()
    """(page size, limit)."""
    network_class: int | None = None
    network_priorities: tuple[tuple[str, int], ...] = ()
    rdma: tuple[tuple[str, int | None, int | None], ...] = ()
    """(device, handles, objects)."""
    unified: tuple[tuple[str, str], ...] = ()
    """(file, content) of the v2 hierarchy."""


_THROTTLES = {
    "throttleReadBpsDevice": "read_bps",
    "throttleWriteBpsDevice": "write_bps",
    "throttleReadIOPSDevice": "read_iops",
    "throttleWriteIOPSDevice": "write_iops",
}


def resources_from_json(document: Any) -> Resources:
    """The document of `update --resources`."""
    return resources_from_fields(Fields(document, "resources"))


def resources_from_fields(fields: Fields | None) -> Resources:
    """The part; empty when there is none. Raises BadContent."""
    if fields is None:
        return Resources()
    pids = fields.child("pids")
    network = fields.child("network")
    return Resources(
        devices=tuple(_device_rule(one) for one in fields.children("devices")),
        memory=_memory(fields.child("memory")),
        cpu=_cpu(fields.child("cpu")),
        pids=None if pids is None else pids.integer("limit"),
        block_io=_block_io(fields.child("blockIO")),
        huge_pages=tuple(
            (one.required_text("pageSize"), one.required_integer("limit", lowest=0)) for one in fields.children("hugepageLimits")
        ),
        network_class=None if network is None else network.integer("classID", lowest=0),
        network_priorities=()
        if network is None
        else tuple((one.required_text("name"), one.required_integer("priority")) for one in network.children("priorities")),
        rdma=_rdma(fields),
        unified=_unified(fields),
    )


def _device_rule(fields: Fields) -> DeviceRule:
    kind = fields.text("type") or "a"
    access = fields.text("access")
    if kind not in ("a", "b", "c"):
        raise BadContent(f"`{fields.where}.type` is none of a, b, c: `{kind}`")
    if access is not None and (not access or set(access) - set("rwm")):
        raise BadContent(f"`{fields.where}.access` is not made of r, w, m: `{access}`")
    major, minor = fields.integer("major"), fields.integer("minor")
    return DeviceRule(
        bool(fields.boolean("allow")), kind, None if major == -1 else major, None if minor == -1 else minor, access or "rwm"
    )


def _memory(fields: Fields | None) -> Memory:
    if fields is None:
        return Memory()
    return Memory(
        limit=fields.integer("limit"),
        reservation=fields.integer("reservation"),
        swap=fields.integer("swap"),
        kernel=fields.integer("kernel"),
        kernel_tcp=fields.integer("kernelTCP"),
        swappiness=fields.integer("swappiness", lowest=0),
        disable_oom_killer=fields.boolean("disableOOMKiller"),
        use_hierarchy=fields.boolean("useHierarchy"),
        check_before_update=bool(fields.boolean("checkBeforeUpdate")),
    )


def _cpu(fields: Fields | None) -> Cpu:
    if fields is None:
        return Cpu()
    return Cpu(
        shares=fields.integer("shares", lowest=0),
        quota=fields.integer("quota"),
        burst=fields.integer("burst", lowest=0),
        period=fields.integer("period", lowest=0),
        realtime_runtime=fields.integer("realtimeRuntime"),
        realtime_period=fields.integer("realtimePeriod", lowest=0),
        cpus=fields.text("cpus") or None,
        mems=fields.text("mems") or None,
        idle=fields.integer("idle"),
    )


def _block_io(fields: Fields | None) -> BlockIo:
    if fields is None:
        return BlockIo()
    weights = [
        DeviceWeight(
            one.required_integer("major"), one.required_integer("minor"), one.integer("weight"), one.integer("leafWeight")
        )
        for one in fields.children("weightDevice")
    ]
    throttles = [
        Throttle(what, one.required_integer("major"), one.required_integer("minor"), one.required_integer("rate", lowest=0))
        for name, what in _THROTTLES.items()
        for one in fields.children(name)
    ]
    return BlockIo(fields.integer("weight"), fields.integer("leafWeight"), tuple(weights), tuple(throttles))


def _rdma(fields: Fields) -> tuple[tuple[str, int | None, int | None], ...]:
    devices = fields.child("rdma")
    if devices is None:
        return ()
    found = []
    for name in fields.raw("rdma"):
        one = devices.child(name) or Fields({}, name)
        found.append((name, one.integer("hcaHandles", lowest=0), one.integer("hcaObjects", lowest=0)))
    return tuple(found)


def _unified(fields: Fields) -> tuple[tuple[str, str], ...]:
    files = fields.text_map("unified")
    for name in files:
        if "/" in name or not name.strip("."):
            raise BadContent(f"`{fields.where}.unified` names no file of a cgroup: `{name}`")
    return tuple(files.items())
