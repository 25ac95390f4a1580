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
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from runtime.container.handshake import describe, receive, send
from runtime.errors import ContainerError
from runtime.kernel import clone_flags, libc, mount_calls, processes
from runtime.light_typing import Any, NamedTuple, NoReturn
from runtime.network import loopback
from runtime.oci.runtime_config import RuntimeConfig
from runtime.oci_runtime import cgroup_files
from runtime.oci_runtime.container_mounts import ContainerMounts
from runtime.oci_runtime.container_root import change_root, find_rootfs, open_rootfs
from runtime.oci_runtime.device_nodes import cover_paths, make_devices
from runtime.oci_runtime.hooks import run_hooks
from runtime.oci_runtime.mount_options import propagation_flags
from runtime.oci_runtime.privileges import in_user_namespace
from runtime.oci_runtime.process_limits import memory_policy
from runtime.oci_runtime.program_start import Start, become, environment, find_program, own_streams
from runtime.oci_runtime.sysctl import check_setting
from runtime.rootfs.targets import Root

FLAGS = {
    "user": clone_flags.NEWUSER,
    "mount": clone_flags.NEWNS,
    "pid": clone_flags.NEWPID,
    "network": clone_flags.NEWNET,
    "ipc": clone_flags.NEWIPC,
    "uts": clone_flags.NEWUTS,
    "cgroup": clone_flags.NEWCGROUP,
    "time": clone_flags.NEWTIME,
}


class Birth(NamedTuple):
    """What the child needs to know; it travels by fork."""

    container_id: str
    config: RuntimeConfig
    bundle: Path
    rootfs: Path
    rootfs_fd: int | None
    """None: it is to be found in the mount namespace that is joined."""
    control: socket.socket
    gate: socket.socket
    own_cgroups: tuple[str, ...]
    """Directories of cgroups that the child enters by itself, which is cheaper than being moved."""
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


def be_first(birth: Birth) -> NoReturn:
    """Enter the namespaces; go on as the container's process, or start it and end."""
    try:
        gc.freeze()
        gc.disable()
        kept = [
            birth.control.fileno(),
            birth.gate.fileno(),
            *birth.joined.values(),
            *birth.prepared.values(),
            *birth.devices.values(),
        ]
        kept += [one.fileno() for one in (birth.console,) if one is not None]
        kept += [*birth.start.descriptors, *(() if birth.rootfs_fd is None else (birth.rootfs_fd,))]
        processes.reset_signals()
        processes.close_fds(keep=kept, first=3 + birth.preserved)
        os.umask(0)
        cgroup_files.enter(birth.own_cgroups)
        _enter_namespaces(birth)
        if "pid" in birth.new or "pid" in birth.joined or "time" in birth.new or "time" in birth.joined:
            pid = processes.fork_sibling()
            if pid != 0:
                send(birth.control, {"pid": pid})
                os._exit(0)
        else:
            send(birth.control, {"pid": os.getpid()})
        _be_container(birth)
    except BaseException as error:
        _fail(birth.control, error)


def _fail(control: socket.socket, error: BaseException) -> NoReturn:
    try:
        send(control, {"error": describe(error)})
    finally:
        os._exit(1)


def _ask(birth: Birth, request: str) -> dict[str, Any]:
    """Have the command do something for us; its answer."""
    send(birth.control, {request: True})
    answer = receive(birth.control)
    if answer is None:
        os._exit(1)
    return answer[0]


def _enter_namespaces(birth: Birth) -> None:
    new = birth.new
    if "user" in birth.joined or "pid" in birth.joined:
        processes.make_undumpable()  # there is somebody inside already who could look at us
    later = _join({kind: fd for kind, fd in birth.joined.items() if kind not in ("user", "mount")})
    if "user" in birth.joined:
        libc.setns(birth.joined["user"], clone_flags.NEWUSER)
        _be_root(birth)
    elif "user" in new:
        libc.unshare(clone_flags.NEWUSER)
        _ask(birth, "map")
        _be_root(birth)
    refused = _join(later)
    if refused:
        kind = next(iter(refused))
        raise ContainerError(f"cannot join the `{kind}` namespace: operation not permitted")
    if birth.rootfs_fd is None:
        libc.setns(birth.joined["mount"], clone_flags.NEWNS)
        os.fchdir(find_rootfs(birth.rootfs))
    else:
        os.fchdir(birth.rootfs_fd)
        os.close(birth.rootfs_fd)
    flags = 0
    for kind in new - {"user", "cgroup"}:
        flags |= FLAGS[kind]
    if flags:
        libc.unshare(flags)
    _ask(birth, "placed")
    if "cgroup" in new:
        # It takes the cgroup that we are in by now for its root.
        libc.unshare(clone_flags.NEWCGROUP)
    if "time" in new:
        _ask(birth, "offsets")
    if "network" in new:
        loopback.bring_up()
    if birth.config.linux.net_devices:
        _ask(birth, "devices")


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


def _be_root(birth: Birth) -> None:
    """The first id of the user namespace, which owns all of it."""
    uids, gids = birth.config.linux.uid_mappings, birth.config.linux.gid_mappings
    uid = 0 if not uids or any(one.inside == 0 for one in uids) else uids[0].inside
    gid = 0 if not gids or any(one.inside == 0 for one in gids) else gids[0].inside
    with suppress(PermissionError):  # where setgroups(2) is denied
        os.setgroups(())
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _be_container(birth: Birth) -> NoReturn:
    try:
        config = birth.config
        _set_names(birth)
        if birth.keyring:
            with suppress(OSError):  # no keyrings in this kernel, or a filter around us
                libc.join_session_keyring(birth.container_id)
        policy = memory_policy(config.linux)
        if policy is not None:
            libc.set_mempolicy(*policy)
        _write_sysctl(config)
        _ask(birth, "enter")
        root = _furnish(birth)
        env, program = _move_in(birth, root)
        send(birth.control, {"ready": True})
        birth.control.close()
        _wait_at_gate(birth, program, env)
    except BaseException as error:
        _fail(birth.control, error)


def _set_names(birth: Birth) -> None:
    config = birth.config
    if (config.hostname or config.domainname) and config.linux.namespace("uts") is None:
        raise ContainerError("`hostname` or `domainname` is set and the container has no `uts` namespace of its own")
    if config.hostname:
        socket.sethostname(config.hostname)
    if config.domainname:
        libc.setdomainname(config.domainname)


def _write_sysctl(config: RuntimeConfig) -> None:
    for name, value in config.linux.sysctl:
        check_setting(name, value, config)
        # sysctl(8): with a slash in the name dots are part of it, as in the name of a VLAN's interface.
        path = "/proc/sys/" + (name if "/" in name else name.replace(".", "/"))
        try:
            with open(path, "w") as file:
                file.write(value)
        except OSError as error:
            raise ContainerError(f"cannot set `{name}` to `{value}`: {os.strerror(error.errno or 0).lower()}") from error


def _furnish(birth: Birth) -> Root:
    """Everything in the root file system, seen from outside still."""
    config = birth.config
    root = open_rootfs(birth.rootfs, config, private_namespace="mount" in birth.new)
    made = ContainerMounts(
        root,
        birth.bundle,
        prepared=birth.prepared,
        own_cgroup_namespace=config.linux.namespace("cgroup") is not None,
        label=birth.mount_label,
    )
    made.mount_all(config.mounts)
    bound = config.linux.namespace("user") is not None or in_user_namespace()
    if not any(one.destination.rstrip("/") == "/dev" and {"bind", "rbind"} & set(one.options) for one in config.mounts):
        make_devices(root, config.linux.devices, bound=bound, prepared=birth.devices)
    with suppress(ContainerError, OSError):  # then entering it fails, with the better error
        os.close(root.directory(birth.start.process.cwd))
    state = {**birth.state, **_ask(birth, "hooks")}
    if config.hooks.create_container:
        run_hooks(config.hooks.create_container, "createContainer", state, cwd=str(birth.bundle))
    cover_paths(root, config.linux.masked_paths, config.linux.readonly_paths)
    if birth.start.process.terminal:
        _open_terminal(birth, root)
    flags = propagation_flags(config.linux.rootfs_propagation) if config.linux.rootfs_propagation else 0
    change_root(root, propagation=flags, pivot=birth.pivot and "mount" in birth.new)
    made.make_read_only()
    if config.readonly_root:
        _make_root_read_only()
    return root


def _make_root_read_only() -> None:
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mount_calls.mount_setattr(root, "", libc.AT_EMPTY_PATH, set_attr=1)
    os.close(root)


def _open_terminal(birth: Birth, root: Root) -> None:
    from runtime.oci_runtime import terminal

    process = birth.start.process
    os.setsid()
    master, slave = terminal.open_terminal(root.fd)
    if process.console_size is not None:
        terminal.set_size(master, *process.console_size)
    with suppress(OSError):  # an id without a map
        os.fchown(slave, process.user.uid, -1)
    terminal.give_console(root, slave)
    if birth.console is None:
        raise ContainerError("the container wants a terminal", hint="`--console-socket` says who gets it")
    terminal.send_master(birth.console, master)
    os.close(master)
    terminal.control(slave)
    os.close(slave)


def _move_in(birth: Birth, root: Root) -> tuple[dict[str, str], str]:
    """Inside: what can fail before the program is started fails now."""
    os.close(root.fd)
    for fd in birth.joined.values():
        os.close(fd)
    process = birth.start.process
    if not process.terminal:
        os.setsid()
        own_streams(process.user.uid)
    if birth.config.linux.personality is not None:
        domain = {"LINUX": 0, "LINUX32": 8}.get(birth.config.linux.personality)
        if domain is None:
            raise ContainerError(f"`linux.personality.domain` is none of LINUX, LINUX32: `{birth.config.linux.personality}`")
        libc.personality(domain)
    env = environment(birth.start)
    return env, find_program(process, env) if process.args else ""


def _wait_at_gate(birth: Birth, program: str, env: dict[str, str]) -> NoReturn:
    """`start` connects and sees the end of the connection when the program runs, or hears why it doesn't."""
    connection, _address = birth.gate.accept()
    birth.gate.close()
    try:
        if receive(connection) is None:
            os._exit(1)
        hooks = birth.config.hooks.start_container
        if hooks:
            run_hooks(hooks, "startContainer", {**birth.state, "pid": os.getpid(), "status": "created"})
        become(birth.start, program, env)
    except BaseException as error:
        _fail(connection, error)
