"""A bundle's `config.json` (OCI runtime-spec 1.2, config.md): what a container shall be, read strictly. No I/O.

The part for Linux is `linux_config.py`. Values are NamedTuples and not dataclasses: making forty dataclasses takes longer than
starting a container may.
"""

from __future__ import annotations

from runtime.errors import BadContent
from runtime.light_typing import Any, NamedTuple
from runtime.oci.json_fields import Fields
from runtime.oci.linux_config import IdMapping, Linux, id_mappings, linux_from_fields

LARGEST_ID = 0xFFFFFFFE


class User(NamedTuple):
    """`process.user`."""

    uid: int = 0
    gid: int = 0
    umask: int | None = None
    additional_gids: tuple[int, ...] = ()


class ResourceLimit(NamedTuple):
    """One of `process.rlimits`."""

    kind: str
    soft: int
    hard: int


class CapabilitySets(NamedTuple):
    """`process.capabilities`: names in each of the five sets."""

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


class Scheduler(NamedTuple):
    """`process.scheduler` (sched_setattr(2))."""

    policy: str
    nice: int
    priority: int
    flags: tuple[str, ...]
    runtime_ns: int
    deadline_ns: int
    period_ns: int


class Process(NamedTuple):
    """`process`: the program, and what it is when it starts."""

    args: tuple[str, ...]
    cwd: str
    env: tuple[str, ...] = ()
    user: User = User()
    terminal: bool = False
    console_size: tuple[int, int] | None = None
    """Rows and columns."""
    capabilities: CapabilitySets | None = None
    rlimits: tuple[ResourceLimit, ...] = ()
    no_new_privileges: bool = False
    oom_score_adj: int | None = None
    apparmor_profile: str | None = None
    selinux_label: str | None = None
    scheduler: Scheduler | None = None
    io_priority: tuple[str, int] | None = None
    """Class and priority."""
    exec_cpu_affinity: tuple[str | None, str | None] = (None, None)
    """`initial` and `final`, as lists of cpuset(7)."""


class Mount(NamedTuple):
    """One of `mounts`."""

    destination: str
    kind: str | None
    source: str | None
    options: tuple[str, ...]
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()


class Hook(NamedTuple):
    """One program of `hooks`."""

    path: str
    args: tuple[str, ...]
    env: tuple[str, ...] | None
    timeout_s: int | None


class Hooks(NamedTuple):
    """`hooks`, in the order in which they run."""

    prestart: tuple[Hook, ...] = ()
    create_runtime: tuple[Hook, ...] = ()
    create_container: tuple[Hook, ...] = ()
    start_container: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


class RuntimeConfig(NamedTuple):
    """The whole document."""

    oci_version: str
    root_path: str | None
    readonly_root: bool
    process: Process | None
    mounts: tuple[Mount, ...]
    hostname: str | None
    domainname: str | None
    hooks: Hooks
    annotations: dict[str, str]
    linux: Linux


def config_from_json(document: Any) -> RuntimeConfig:
    """The configuration in *document*. Raises BadContent."""
    fields = Fields(document, "")
    version = fields.required_text("ociVersion")
    if version.partition(".")[0] != "1":
        raise BadContent(f"`ociVersion` is `{version}`: this runtime reads 1.x")
    root = fields.child("root")
    process = fields.child("process")
    return RuntimeConfig(
        oci_version=version,
        root_path=None if root is None else root.required_text("path"),
        readonly_root=bool(root is not None and root.boolean("readonly")),
        process=None if process is None else process_from_fields(process),
        mounts=tuple(_mount(one) for one in fields.children("mounts")),
        hostname=fields.text("hostname"),
        domainname=fields.text("domainname"),
        hooks=_hooks(fields.child("hooks")),
        annotations=fields.text_map("annotations"),
        linux=linux_from_fields(fields.child("linux")),
    )


def process_from_json(document: Any) -> Process:
    """The document of `exec --process`: the same fields as `process`."""
    return process_from_fields(Fields(document, "process"))


def process_from_fields(fields: Fields) -> Process:
    """`process`. Raises BadContent."""
    cwd = fields.text("cwd") or ""
    if not cwd.startswith("/"):
        raise BadContent(f"`process.cwd` is not an absolute path: `{cwd}`")
    args = fields.texts("args")
    if not args or not args[0]:
        raise BadContent("`process.args` names no program")
    priority = fields.child("ioPriority")
    affinity = fields.child("execCPUAffinity")
    return Process(
        args=args,
        cwd=cwd,
        env=fields.texts("env"),
        user=_user(fields.child("user")),
        terminal=bool(fields.boolean("terminal")),
        console_size=_console_size(fields.child("consoleSize")),
        capabilities=_capabilities(fields.child("capabilities")),
        rlimits=_rlimits(fields.children("rlimits")),
        no_new_privileges=bool(fields.boolean("noNewPrivileges")),
        oom_score_adj=fields.integer("oomScoreAdj", lowest=-1000, highest=1000),
        apparmor_profile=fields.text("apparmorProfile"),
        selinux_label=fields.text("selinuxLabel"),
        scheduler=_scheduler(fields.child("scheduler")),
        io_priority=None if priority is None else (priority.required_text("class"), priority.integer("priority") or 0),
        exec_cpu_affinity=(None, None) if affinity is None else (affinity.text("initial"), affinity.text("final")),
    )


def _user(fields: Fields | None) -> User:
    if fields is None:
        return User()
    gids = fields.integers("additionalGids")
    if any(not 0 <= gid <= LARGEST_ID for gid in gids):
        raise BadContent("`process.user.additionalGids` holds what is no group id")
    return User(
        uid=fields.integer("uid", lowest=0, highest=LARGEST_ID) or 0,
        gid=fields.integer("gid", lowest=0, highest=LARGEST_ID) or 0,
        umask=fields.integer("umask", lowest=0, highest=0o7777),
        additional_gids=gids,
    )


def _console_size(fields: Fields | None) -> tuple[int, int] | None:
    if fields is None:
        return None
    return tuple(fields.integer(name, lowest=0, highest=0xFFFF) or 0 for name in ("height", "width"))  # type: ignore[return-value]


def _capabilities(fields: Fields | None) -> CapabilitySets | None:
    return None if fields is None else CapabilitySets(*(fields.texts(name) for name in CapabilitySets._fields))


def _rlimits(children: list[Fields]) -> tuple[ResourceLimit, ...]:
    limits: list[ResourceLimit] = []
    for one in children:
        limit = ResourceLimit(
            one.required_text("type"), one.required_integer("soft", lowest=0), one.required_integer("hard", lowest=0)
        )
        if limit.kind in (other.kind for other in limits):
            raise BadContent(f"`process.rlimits` names `{limit.kind}` twice")
        limits.append(limit)
    return tuple(limits)


def _scheduler(fields: Fields | None) -> Scheduler | None:
    if fields is None:
        return None
    return Scheduler(
        fields.required_text("policy"),
        fields.integer("nice", lowest=-20, highest=19) or 0,
        fields.integer("priority") or 0,
        fields.texts("flags"),
        fields.integer("runtime", lowest=0) or 0,
        fields.integer("deadline", lowest=0) or 0,
        fields.integer("period", lowest=0) or 0,
    )


def _mount(fields: Fields) -> Mount:
    return Mount(
        fields.required_text("destination"),
        fields.text("type"),
        fields.text("source"),
        fields.texts("options"),
        id_mappings(fields, "uidMappings"),
        id_mappings(fields, "gidMappings"),
    )


def _hook(fields: Fields) -> Hook:
    path = fields.required_text("path")
    if not path.startswith("/"):
        raise BadContent(f"`{fields.where}.path` is not an absolute path: `{path}`")
    env = None if fields.raw("env") is None else fields.texts("env")
    return Hook(path, fields.texts("args"), env, fields.integer("timeout", lowest=1))


def _hooks(fields: Fields | None) -> Hooks:
    if fields is None:
        return Hooks()
    names = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    return Hooks(*(tuple(_hook(one) for one in fields.children(name)) for name in names))
