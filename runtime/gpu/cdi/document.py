"""A CDI specification as values, read strictly: an unknown key, a wrong type or a version that lacks what is used is refused.

The rules are those of the reference implementation (container-device-interface, `specs-go/` and `pkg/cdi/`), which is stricter
than its prose and its JSON schema: edits are an object, a device without edits is none. Its `parser.go` has the rules of names.
No I/O here; `files.py` reads files.
"""

from __future__ import annotations

import re
from typing import Any

from runtime.errors import BadContent
from runtime.light_dataclasses import dataclass
from runtime.oci.json_fields import Fields

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0")
HOOK_NAMES = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_EARLIEST = "0.3.0"
_U32 = (1 << 32) - 1
_VENDOR_OR_CLASS = re.compile(r"[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, order=True)
class DeviceName:
    """`nvidia.com/gpu=0`."""

    kind: str
    """`vendor.com/class`."""
    name: str

    def __str__(self) -> str:
        return f"{self.kind}={self.name}"


@dataclass(frozen=True, slots=True)
class Node:
    """One of `deviceNodes`."""

    path: str
    host_path: str | None = None
    type: str | None = None
    major: int | None = None
    minor: int | None = None
    file_mode: int | None = None
    permissions: str | None = None
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True)
class Mount:
    host_path: str
    container_path: str
    type: str | None = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hook:
    name: str
    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


@dataclass(frozen=True, slots=True)
class NetDevice:
    host_name: str
    name: str


@dataclass(frozen=True, slots=True)
class ContainerEdits:
    """What a device, or all devices of a file, change about a container."""

    env: tuple[str, ...] = ()
    nodes: tuple[Node, ...] = ()
    net_devices: tuple[NetDevice, ...] = ()
    mounts: tuple[Mount, ...] = ()
    hooks: tuple[Hook, ...] = ()
    additional_gids: tuple[int, ...] = ()
    intel_rdt: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Device:
    name: str
    edits: ContainerEdits
    annotations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Specification:
    """One file."""

    version: str
    kind: str
    devices: tuple[Device, ...]
    edits: ContainerEdits = ContainerEdits()
    annotations: tuple[tuple[str, str], ...] = ()


def is_qualified(text: str) -> bool:
    """Whether *text* is meant as a CDI name, not as a path."""
    return "=" in text and not text.startswith("/")


def parse_device_name(text: str) -> DeviceName:
    """*text* as a CDI name. Raises ValueError with what is wrong about it."""
    kind, equals, name = text.partition("=")
    if not equals or text.startswith("/"):
        raise ValueError(f"`{text}` is not a device's name: it looks like `vendor.com/class=name`")
    _check_kind(kind)
    if not _NAME.fullmatch(name):
        raise ValueError(f"`{name}` is not a device's name: letters, digits and `_ - . :`, a letter or digit at both ends")
    return DeviceName(kind, name)


def _check_kind(kind: str) -> None:
    """Raises ValueError unless *kind* is `vendor/class`."""
    vendor, slash, device_class = kind.partition("/")
    if not slash:
        raise ValueError(f"`{kind}` is not `vendor/class`")
    for what, word in (("vendor", vendor), ("class", device_class)):
        if not _VENDOR_OR_CLASS.fullmatch(word):
            raise ValueError(f"`{word}` is not a {what}: a letter first, letters, digits and `_ - .`, a letter or digit last")


def specification(document: Any) -> Specification:
    """*document* (parsed JSON or YAML) as a Specification. Raises BadContent, with the place, for whatever is wrong with it."""
    fields = Fields(document, "")
    _only(fields, ("cdiVersion", "kind", "annotations", "devices", "containerEdits"))
    kind = fields.required_text("kind")
    try:
        _check_kind(kind)
    except ValueError as error:
        raise BadContent(f"kind: {error}") from None
    found = Specification(
        version=fields.required_text("cdiVersion").removeprefix("v"),
        kind=kind,
        devices=tuple(_device(one) for one in fields.children("devices")),
        edits=_edits(fields.child("containerEdits")),
        annotations=tuple(fields.text_map("annotations").items()),
    )
    names = [device.name for device in found.devices]
    if not names:
        raise BadContent("it has no devices")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadContent(f"it has two devices `{twice}`")
    _check_version(found)
    return found


def needed_version(spec: Specification) -> str:
    """The lowest version that has every field which *spec* uses."""
    every = (spec.edits, *(device.edits for device in spec.devices))
    rdt = [edits.intel_rdt for edits in every if edits.intel_rdt is not None]
    if any(edits.net_devices for edits in every) or any(one.keys() & {"schemata", "enableMonitoring"} for one in rdt):
        return "1.1.0"
    if rdt or any(edits.additional_gids for edits in every):
        return "0.7.0"
    if spec.annotations or any(device.annotations for device in spec.devices) or "." in spec.kind.partition("/")[2]:
        return "0.6.0"
    if any(device.name[0].isdigit() for device in spec.devices) or any(node.host_path for edits in every for node in edits.nodes):
        return "0.5.0"
    if any(mount.type for edits in every for mount in edits.mounts):
        return "0.4.0"
    return _EARLIEST


def _check_version(spec: Specification) -> None:
    if spec.version not in VERSIONS:
        raise BadContent(f"cdiVersion `{spec.version}` is unknown; the newest known is {VERSIONS[-1]}")
    needed = needed_version(spec)
    if VERSIONS.index(spec.version) < VERSIONS.index(needed):
        raise BadContent(f"it says cdiVersion {spec.version} but uses what came with {needed}")


def _device(fields: Fields) -> Device:
    _only(fields, ("name", "annotations", "containerEdits"))
    name = fields.required_text("name")
    if not _NAME.fullmatch(name):
        raise BadContent(f"`{fields.where}.name` is not a device's name: `{name}`")
    edits = _edits(fields.child("containerEdits"))
    if edits == ContainerEdits():
        raise BadContent(f"device `{name}` changes nothing: its `containerEdits` are empty")
    return Device(name, edits, tuple(fields.text_map("annotations").items()))


def _edits(fields: Fields | None) -> ContainerEdits:
    if fields is None:
        return ContainerEdits()
    known = ("env", "deviceNodes", "netDevices", "mounts", "hooks", "additionalGids", "intelRdt")
    _only(fields, known)
    edits = ContainerEdits(
        env=_env(fields),
        nodes=tuple(_node(one) for one in fields.children("deviceNodes")),
        net_devices=tuple(_net_device(one) for one in fields.children("netDevices")),
        mounts=tuple(_mount(one) for one in fields.children("mounts")),
        hooks=tuple(_hook(one) for one in fields.children("hooks")),
        additional_gids=fields.integers("additionalGids"),
        intel_rdt=_intel_rdt(fields.child("intelRdt"), fields.raw("intelRdt")),
    )
    if any(not 0 <= gid <= _U32 for gid in edits.additional_gids):
        raise BadContent(f"`{fields.where}.additionalGids` has what is not a group's number")
    for names in ([one.host_name for one in edits.net_devices], [one.name for one in edits.net_devices]):
        if len(set(names)) != len(names):
            raise BadContent(f"`{fields.where}.netDevices` names an interface twice")
    return edits


def _node(fields: Fields) -> Node:
    _only(fields, ("path", "hostPath", "type", "major", "minor", "fileMode", "permissions", "uid", "gid"))
    permissions = fields.text("permissions") or None
    if permissions not in (None, "none") and permissions.strip("rwm"):
        raise BadContent(f"`{fields.where}.permissions` is made of `r`, `w` and `m`, or is `none`: {permissions!r:.40}")
    kind = fields.text("type") or None
    if kind not in (None, "b", "c", "u", "p"):
        raise BadContent(f"`{fields.where}.type` is not one of `b`, `c`, `u`, `p`: {kind!r:.40}")
    return Node(
        path=fields.required_text("path"),
        host_path=fields.text("hostPath") or None,
        type=kind,
        major=fields.integer("major"),
        minor=fields.integer("minor"),
        file_mode=fields.integer("fileMode", lowest=0, highest=_U32),
        permissions=permissions,
        uid=fields.integer("uid", lowest=0, highest=_U32),
        gid=fields.integer("gid", lowest=0, highest=_U32),
    )


def _mount(fields: Fields) -> Mount:
    _only(fields, ("hostPath", "containerPath", "type", "options"))
    return Mount(
        host_path=fields.required_text("hostPath"),
        container_path=fields.required_text("containerPath"),
        type=fields.text("type") or None,
        options=fields.texts("options"),
    )


def _hook(fields: Fields) -> Hook:
    _only(fields, ("hookName", "path", "args", "env", "timeout"))
    name = fields.required_text("hookName")
    if name not in HOOK_NAMES:
        raise BadContent(f"`{fields.where}.hookName` is not one of {', '.join(HOOK_NAMES)}: {name!r:.40}")
    return Hook(name, fields.required_text("path"), fields.texts("args"), _env(fields), fields.integer("timeout"))


def _net_device(fields: Fields) -> NetDevice:
    _only(fields, ("hostInterfaceName", "name"))
    return NetDevice(fields.required_text("hostInterfaceName"), fields.required_text("name"))


def _intel_rdt(fields: Fields | None, raw: Any) -> dict[str, Any] | None:
    if fields is None:
        return None
    _only(fields, ("closID", "l3CacheSchema", "memBwSchema", "schemata", "enableMonitoring"))
    name = fields.text("closID") or ""
    if name != "/" and (name in (".", "..") or "/" in name or "\n" in name or len(name) >= 4096):
        raise BadContent(f"`{fields.where}.closID` is not a name of a group: {name!r:.40}")
    for key in ("l3CacheSchema", "memBwSchema"):
        fields.text(key)
    fields.texts("schemata")
    fields.boolean("enableMonitoring")
    return {key: value for key, value in raw.items() if value}


def _env(fields: Fields) -> tuple[str, ...]:
    entries = fields.texts("env")
    for entry in entries:
        if entry.find("=") <= 0:
            raise BadContent(f"`{fields.where}.env` has an entry that is not `NAME=value`: {entry!r:.80}")
    return entries


def _only(fields: Fields, known: tuple[str, ...]) -> None:
    unknown = sorted(set(fields.names()) - set(known))
    if unknown:
        place = f" in `{fields.where}`" if fields.where else ""
        raise BadContent(f"unknown key `{unknown[0]}`{place}; known are {', '.join(known)}")
