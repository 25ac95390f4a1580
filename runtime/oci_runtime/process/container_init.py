"""From a fork of `create` to the bundle's program as PID 1: the part that happens inside the new namespaces.

Two processes at most. The first enters the user namespace and unshares the rest; where there is a new PID namespace its sibling
(the command can wait for it) goes on: mounts, hooks, change of root, the gate at which it waits for `start`, exec. What needs the
command's privileges is asked for over one socket; a failure travels the same way. No process of ours stays.
"""

from __future__ import annotations

import errno
import gc
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from runtime.cgroup.entry import enter
from runtime.container.handshake import ask, receive, report_and_exit, send
from runtime.errors import ContainerError
from runtime.kernel import libc, mounts, processes
from runtime.light_typing import NamedTuple, NoReturn
from runtime.network import loopback
from runtime.oci.linux_config import IdMapping, Linux
from runtime.oci.runtime_config import RuntimeConfig
from runtime.oci_runtime.hooks import run_hooks
from runtime.oci_runtime.mounts.container_mounts import ContainerMounts
from runtime.oci_runtime.mounts.device_nodes import make_devices
from runtime.oci_runtime.mounts.mount_options import propagation_flags
from runtime.oci_runtime.mounts.rootfs import change_root, find_rootfs, open_rootfs
from runtime.oci_runtime.process.process_attributes import memory_policy
from runtime.oci_runtime.process.program_start import Start, environment, exec_program, find_program, own_streams
from runtime.oci_runtime.process.sysctl import write_settings
from runtime.rootfs.covered_paths import hide_paths, protect_paths
from runtime.rootfs.targets import Root

FLAGS = {
    "user": processes.NEWUSER,
    "mount": processes.NEWNS,
    "pid": processes.NEWPID,
    "network": processes.NEWNET,
    "ipc": processes.NEWIPC,
    "uts": processes.NEWUTS,
    "cgroup": processes.NEWCGROUP,
    "time": processes.NEWTIME,
}


class InitParams(NamedTuple):
    """What the child needs to know; it travels by fork."""

    container_id: str
    config: RuntimeConfig
    bundle: Path
    rootfs: Path
    rootfs_fd: int | None
    """None: it is to be found in the mount namespace that is joined."""
    control: socket.socket
    gate: socket.socket
    console: socket.socket | None
    joined: Mapping[str, int]
    """Kind of namespace → descriptor, for those that have a path."""
    prepared: Mapping[int, int]
    """Number of a bind mount → its tree, made while the machine's own privileges were at hand."""
    devices: Mapping[str, int]
    """Path → a device's node, made as the mounts were."""
    start: Start
    preserved: int
    keyring: bool
    pivot: bool
    mount_label: str | None
    state: Mapping[str, object]

    @property
    def new(self) -> set[str]:
        return {one.kind for one in self.config.linux.namespaces if one.path is None}


def run_as_init(params: InitParams, cgroups: Sequence[Path]) -> NoReturn:
    """Enter what is left of *cgroups* and the namespaces; go on as the container's process, or start it and end."""
    try:
        gc.freeze()
        kept = [
            params.control.fileno(),
            params.gate.fileno(),
            *params.joined.values(),
            *params.prepared.values(),
            *params.devices.values(),
        ]
        kept += [one.fileno() for one in (params.console,) if one is not None]
        kept += [*params.start.descriptors, *(() if params.rootfs_fd is None else (params.rootfs_fd,))]
        processes.close_fds(keep=kept, first=3 + params.preserved)
        os.umask(0)
        enter(cgroups)
        _enter_namespaces(params)
        if "pid" in params.new or "pid" in params.joined or "time" in params.new or "time" in params.joined:
            pid = processes.fork_sibling()
            if pid != 0:
                send(params.control, {"pid": pid})
                os._exit(0)
        else:
            send(params.control, {"pid": os.getpid()})
        _run_container(params)
    except BaseException as error:
        report_and_exit(params.control, error)


def _enter_namespaces(params: InitParams) -> None:
    new = params.new
    if "user" in params.joined or "pid" in params.joined:
        processes.make_undumpable()  # there is somebody inside already who could look at us
    later = _join({kind: fd for kind, fd in params.joined.items() if kind not in ("user", "mount")})
    if "user" in params.joined:
        libc.setns(params.joined["user"], processes.NEWUSER)
        become_root(params.config.linux)
    elif "user" in new:
        libc.unshare(processes.NEWUSER)
        ask(params.control, "map")
        become_root(params.config.linux)
    refused = _join(later)
    if refused:
        kind = next(iter(refused))
        raise ContainerError(f"cannot join the `{kind}` namespace: operation not permitted")
    if params.rootfs_fd is None:
        libc.setns(params.joined["mount"], processes.NEWNS)
        os.fchdir(find_rootfs(params.rootfs))
    else:
        os.fchdir(params.rootfs_fd)
        os.close(params.rootfs_fd)
    flags = 0
    for kind in new - {"user", "cgroup"}:
        flags |= FLAGS[kind]
    if flags:
        libc.unshare(flags)
    ask(params.control, "cgroup")  # answered when systemd has moved us, if it has to
    if "cgroup" in new:
        # It takes the cgroup that we are in by now for its root.
        libc.unshare(processes.NEWCGROUP)
    if "time" in new:
        ask(params.control, "offsets")
    if "network" in new:
        loopback.bring_up()
    if params.config.linux.net_devices:
        ask(params.control, "devices")


def _join(wanted: Mapping[str, int]) -> dict[str, int]:
    """Join *wanted*; what is refused now may be allowed once we are in the user namespace that owns it."""
    refused = {}
    for kind, fd in wanted.items():
        try:
            libc.setns(fd, FLAGS[kind])
        except OSError as error:
            if error.errno != errno.EPERM:
                raise ContainerError(f"cannot join the `{kind}` namespace: {os.strerror(error.errno or 0).lower()}") from error
            refused[kind] = fd
    return refused


def become_root(linux: Linux) -> None:
    """Be the first id of the user namespace that this process has entered, which owns all of it."""
    uid, gid = (_first_id(mappings) for mappings in (linux.uid_mappings, linux.gid_mappings))
    with suppress(PermissionError):  # where setgroups(2) is denied
        os.setgroups(())
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _first_id(mappings: Sequence[IdMapping]) -> int:
    return 0 if not mappings or any(one.inside == 0 for one in mappings) else mappings[0].inside


def _run_container(params: InitParams) -> NoReturn:
    try:
        config = params.config
        _set_names(params)
        if params.keyring:
            with suppress(OSError):  # no keyrings in this kernel, or a filter around us
                libc.join_session_keyring(params.container_id)
        policy = memory_policy(config.linux)
        if policy is not None:
            libc.set_mempolicy(*policy)
        write_settings(config)
        ask(params.control, "enter")
        root = _set_up_rootfs(params)
        env, program = _move_in(params, root)
        send(params.control, {"ready": True})
        params.control.close()
        _wait_at_gate(params, program, env)
    except BaseException as error:
        report_and_exit(params.control, error)


def _set_names(params: InitParams) -> None:
    config = params.config
    if (config.hostname or config.domainname) and config.linux.namespace("uts") is None:
        raise ContainerError("`hostname` or `domainname` is set and the container has no `uts` namespace of its own")
    if config.hostname:
        socket.sethostname(config.hostname)
    if config.domainname:
        libc.setdomainname(config.domainname)


def _set_up_rootfs(params: InitParams) -> Root:
    """Everything in the root file system, seen from outside still."""
    config = params.config
    root = open_rootfs(params.rootfs, config, private_namespace="mount" in params.new)
    made = ContainerMounts(
        root,
        params.bundle,
        prepared=params.prepared,
        own_cgroup_namespace=config.linux.namespace("cgroup") is not None,
        label=params.mount_label,
    )
    made.mount_all(config.mounts)
    bound = config.linux.namespace("user") is not None or processes.is_in_user_namespace()
    if not any(one.destination.rstrip("/") == "/dev" and {"bind", "rbind"} & set(one.options) for one in config.mounts):
        make_devices(root, config.linux.devices, bound=bound, prepared=params.devices)
    with suppress(ContainerError, OSError):  # then entering it fails, with the better error
        os.close(root.directory(params.start.process.cwd))
    state = {**params.state, **ask(params.control, "hooks")}
    if config.hooks.create_container:
        run_hooks(config.hooks.create_container, "createContainer", state, cwd=str(params.bundle))
    hide_paths(root, config.linux.masked_paths)
    protect_paths(root, config.linux.readonly_paths)
    if params.start.process.terminal:
        from runtime.oci_runtime.process.terminal import take_new_terminal

        os.setsid()
        take_new_terminal(root, params.start.process, params.console, as_console=True)
    flags = propagation_flags(config.linux.rootfs_propagation) if config.linux.rootfs_propagation else 0
    change_root(root, propagation=flags, pivot=params.pivot and "mount" in params.new)
    made.make_read_only()
    if config.readonly_root:
        top = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        mounts.set_attributes(top, mounts.ATTR_RDONLY)
        os.close(top)
    return root


def _move_in(params: InitParams, root: Root) -> tuple[dict[str, str], str]:
    """Inside: what can fail before the program is started fails now."""
    os.close(root.fd)
    for fd in params.joined.values():
        os.close(fd)
    process = params.start.process
    if not process.terminal:
        os.setsid()
        own_streams(process.user.uid)
    if params.config.linux.personality is not None:
        domain = {"LINUX": 0, "LINUX32": 8}.get(params.config.linux.personality)
        if domain is None:
            raise ContainerError(f"`linux.personality.domain` is not LINUX or LINUX32: `{params.config.linux.personality}`")
        libc.personality(domain)
    env = environment(params.start)
    return env, find_program(process, env) if process.args else ""


def _wait_at_gate(params: InitParams, program: str, env: dict[str, str]) -> NoReturn:
    """`start` connects and sees the end of the connection when the program runs, or hears why it doesn't."""
    connection, _address = params.gate.accept()
    params.gate.close()
    try:
        if receive(connection) is None:
            os._exit(1)
        hooks = params.config.hooks.start_container
        if hooks:
            run_hooks(hooks, "startContainer", {**params.state, "pid": os.getpid(), "status": "created"})
        exec_program(params.start, program, env)
    except BaseException as error:
        report_and_exit(connection, error)
