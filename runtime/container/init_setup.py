"""From a fork of the creator to the container's PID 1 at its gate: the order of calls that makes a container.

The order is a security decision (docs/decisions/020-the-order-of-calls-that-makes-a-container.md):

 1. The creator clones PID 1 into its cgroup and its PID namespace. For root that is in the *initial* user namespace; an ordinary
    user's is born in its own, and waits for its maps.
 2. In a private mount namespace: overlay from (for root: id-mapped) layers, host mounts, files in memory, /proc.
 3. It enters the user namespace and unshares the rest: the mounts of step 2 are copies now, and root's are locked.
 4. /sys and /dev; a bind of the root on itself, for a locked root can't be pivoted to; pivot; capabilities dropped; listener;
    gate.

Everything here runs in a process with one thread. A failure travels to the creator as a message.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from runtime.cgroup.entry import enter
from runtime.container.handshake import receive, report_and_exit, send
from runtime.container.inherited_fds import InheritedFds
from runtime.container.init import Init
from runtime.container.mappings import Mappings
from runtime.container.program import Program
from runtime.container.rank_tasks import RankTasks
from runtime.container.spec import ContainerSpec
from runtime.container.staying import Stay
from runtime.kernel import capabilities, libc, mounts, namespaces, processes
from runtime.kernel.id_maps import IdMapKind, IdMaps
from runtime.light_dataclasses import dataclass
from runtime.network import loopback
from runtime.rootfs.covered_paths import cover_system_paths
from runtime.rootfs.device_files import add_device_files
from runtime.rootfs.gpu_nodes import GpuNodes, nodes_of_gpus
from runtime.rootfs.host_mounts import attach_files, attach_host_mounts, directory_for
from runtime.rootfs.memory_files import etc_files
from runtime.rootfs.mount_spec import BindMount, LayersMount, TmpfsMount
from runtime.rootfs.overlay import LayerMaps, OverlayStrategy, mount_overlay
from runtime.rootfs.system_mounts import mount_dev, mount_proc, mount_sys
from runtime.rootfs.targets import Root

_OPEN_FILES = 1 << 16
"""Not the hard limit, which may be a milliard: some programs close every descriptor that they could have."""
_STACK_BYTES = 64 << 20

_INIT_CAPABILITIES = frozenset({"CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"})
_TO_CLOSE_NODES = frozenset({"CAP_SYS_ADMIN"})
"""Beside those, where init may give GPUs back: its programs have it as little as ever."""


@dataclass(frozen=True, slots=True)
class InitParams:
    """What the child needs to know; it travels by fork, not by message."""

    spec: ContainerSpec
    maps: IdMaps
    mappings: Mappings | None
    """None: an ordinary user's container, or one with a single id. Its init begins in the user namespace."""
    strategies: Sequence[OverlayStrategy]
    inherited: InheritedFds
    stdin: int
    stdout_write: int
    stderr_write: int
    kept: frozenset[str]
    seccomp: bytes
    seccomp_asking: bytes | None
    resolv_conf: str
    connected: bool = False
    """Whether somebody outside waits for its network namespace."""

    def descriptors(self) -> list[int]:
        """All that is not the program's."""
        return [*self.inherited.descriptors(), *(self.mappings.descriptors() if self.mappings else ())]


def run_init(params: InitParams, cgroups: Sequence[Path]) -> NoReturn:
    """PID 1, from its first instruction to the end of the container. *cgroups*: what is left to `enter`."""
    try:
        gc.freeze()
        enter(cgroups)
        open_files = _leave_creator(params)
        if params.seccomp_asking is not None:
            import runtime.container.owner_reports  # later it can't be found
        if not params.spec.processes:
            import runtime.container.sftp_server  # noqa: F401  as well: editors want it in a container to work in
        if params.mappings is None:
            _await_maps(params)
        root, warnings, strategy = _set_up_rootfs(params)
        if params.mappings is not None:
            namespaces.enter_user_namespace(params.mappings.container, params.maps, keep_groups=params.spec.host_groups)
        # Whoever is the last to close the layers' detached trees waits for them to dissolve (see `overlay.py`): not init.
        last_holder = namespaces.holder_of_descriptors()
        # Undumpable before anybody is inside: PID 1 is a copy of the launcher, secrets included.
        processes.make_undumpable()
        # The cgroup namespace starts where this process is by now.
        own_network = 0 if params.spec.network == "host" else processes.NEWNET
        libc.unshare(processes.NEWNS | processes.NEWUTS | processes.NEWIPC | processes.NEWCGROUP | own_network)
        if params.connected:
            _show_namespaces(params)
        processes.close_fds(keep=params.inherited.descriptors())
        os.kill(last_holder, signal.SIGKILL)
        _change_root(params)
        init, listener = _confine(params, open_files)
        said = {"ready": True, "made": root.made, "warnings": warnings, "strategy": strategy, "port": init.port}
        send(params.inherited.control, said, (listener.fileno(),) if listener else ())
    except BaseException as error:
        report_and_exit(params.inherited.control, error)
    try:
        os._exit(init.run())
    except BaseException as error:
        os.write(2, f"launch: the container's init failed: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(125)


def _await_maps(params: InitParams) -> None:
    """Become root, or the one id, of the user namespace that this process was born in, once its creator has written the maps."""
    if receive(params.inherited.control) is None:
        os._exit(1)
    namespaces.become_owner(params.maps, keep_groups=params.spec.host_groups)


def _show_namespaces(params: InitParams) -> None:
    """Say that there is a network to be connected. An ordinary user's init is undumpable: its creator can't open these by its
    number."""
    fds = tuple(os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("user", "net"))
    send(params.inherited.control, {"namespaces": True}, fds)


def _leave_creator(params: InitParams) -> tuple[int, int]:
    """Leave the creator's terminal, descriptors and keys behind. Returns the limits of open files that the program gets."""
    os.setsid()
    processes.leave_session_keyring()
    os.umask(0o022)
    libc.default_signal(signal.SIGPIPE, ignored=True)
    for number, fd in enumerate((params.stdin, params.stdout_write, params.stderr_write)):
        os.dup2(fd, number)
    processes.close_fds(keep=params.descriptors())
    processes.rename("launch-init")
    return processes.raise_open_file_limit() if params.spec.build else give_program_its_limits()


def _set_up_rootfs(params: InitParams) -> tuple[Root, list[str], OverlayStrategy]:
    """The overlay in a mount namespace of this process's own, with the host's files and /proc in it. It becomes the working
    directory."""
    spec = params.spec
    layer_maps, map_for = LayerMaps(), None
    if params.mappings is not None:
        layer_maps, map_for = params.mappings.for_layers(), params.mappings.for_bind
    libc.unshare(processes.NEWNS)
    mounts.make_private()
    overlay, strategy = mount_overlay(spec.layers, spec.overlay_dir, maps=layer_maps, strategies=params.strategies)
    place = os.open(spec.overlay_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mounts.attach(overlay, place)
    os.fchdir(overlay)
    owner = params.maps.process_owner(0, 0)
    root = Root(overlay, owner)
    home = spec.env.get("HOME", "/")
    program_owner = _owner_for(params, spec.uid, spec.gid)
    wanted: tuple[BindMount | TmpfsMount | LayersMount, ...]
    wanted = (*spec.binds, *spec.other_layers, *spec.tmpfs)
    warnings = attach_host_mounts(root, wanted, map_for=map_for, owner=owner, layer_maps=layer_maps, strategies=params.strategies)
    warnings += add_device_files(root, spec.host_files, spec.links, spec.loader_dirs, owner=owner)
    etc = etc_files(overlay, hostname=spec.hostname, resolv_conf=params.resolv_conf, uid=spec.uid, gid=spec.gid, home=home)
    attach_files(root, etc, owner=owner)
    attach_files(root, spec.tmpfs_files, owner=program_owner, owner_for=lambda uid, gid: _owner_for(params, uid, gid))
    directory_for(root, "/tmp", owner=owner, mode=0o1777)
    for directory in (home, spec.cwd):
        if directory.startswith("/"):
            directory_for(root, directory, owner=program_owner)
    # By who is in the PID namespace and root over it: for root's containers that is so only here.
    mount_proc(root, covers=spec.proc_covers)
    return root, warnings, strategy


def _owner_for(params: InitParams, uid: int, gid: int) -> tuple[int, int] | None:
    """Whom init gives files to that belong to these ids of the container: it may be inside the user namespace already."""
    return params.maps.process_owner(uid, gid) or ((uid, gid) if params.maps.kind is IdMapKind.SUBIDS else None)


def _confine(params: InitParams, open_files: tuple[int, int]) -> tuple[Init, socket.socket | None]:
    """Give up what PID 1 needs no more, inside the new root. Returns its loop, and the listener that it holds for its creator."""
    spec = params.spec
    socket.sethostname(spec.hostname)
    if spec.network != "host":
        loopback.bring_up()
    listener = loopback.listen() if spec.loopback_listener else None
    user_namespace = None
    if spec.seen_as is not None and spec.seen_as != (spec.uid, spec.gid):
        user_namespace = namespaces.make_renaming_namespace((spec.uid, spec.gid), spec.seen_as)
    # Nobody inside shall have all of init's ids, and with them the right to take its limits down (prlimit(2)).
    os.setresuid(-1, -1, max(one.inside + one.count for one in params.maps.uids.extents) - 1)
    processes.make_undumpable()
    program_capabilities = capabilities.mask(params.kept)
    gpus = _gpus_to_give_back(params)
    own = program_capabilities | capabilities.mask(_INIT_CAPABILITIES | (_TO_CLOSE_NODES if gpus else set()))
    processes.limit_capabilities(own)
    libc.capset(effective=own, permitted=own)
    ours = (listener.fileno() if listener else None, user_namespace)
    processes.close_fds(keep=(*params.inherited.descriptors(), *(fd for fd in ours if fd is not None)))
    program = Program(
        argv=spec.argv,
        env=spec.env,
        cwd=spec.cwd,
        uid=spec.uid,
        gid=spec.gid,
        groups=None if spec.host_groups else spec.groups,
        one_id=params.maps.kind is IdMapKind.SINGLE,
        capabilities=program_capabilities,
        seccomp=params.seccomp,
        seccomp_asking=params.seccomp_asking,
        open_files=open_files,
        user_namespace=user_namespace,
        terminal=spec.terminal,
    )
    stay = None if spec.processes else Stay(spec.idle_s, spec.gpu_idle_s, gpus)
    init = Init(
        program,
        params.inherited,
        listener,
        spec.processes,
        spec.rank_grace_s,
        spec.world,
        rank_aliases=spec.rank_aliases,
        tasks=RankTasks(absent=spec.processes) if spec.awaits_tasks else None,
        stay=stay,
    )
    return init, listener


def _gpus_to_give_back(params: InitParams) -> GpuNodes | None:
    """Only what is leased can be leased again."""
    nodes = nodes_of_gpus(device.target for device in params.spec.devices)
    if params.spec.gpu_idle_s is None or not params.inherited.lease or not nodes:
        return None
    return GpuNodes(nodes, params.inherited.lease)


def _change_root(params: InitParams) -> None:
    """System mounts below the working directory, which becomes `/`."""
    spec = params.spec
    # A locked mount can't be the new root (EINVAL): a bind of it on itself can, and the locked ones below come along.
    below = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    tree = mounts.clone_tree(".", recursive=True)
    mounts.attach(tree, below)
    os.fchdir(tree)
    root = Root(tree, None)
    mount_sys(root, own_network=spec.network != "host")
    mount_dev(
        root,
        shm_bytes=spec.shm_bytes,
        devices=spec.devices,
        links=tuple(link for link in spec.links if link.path.startswith("/dev/")),
        single_id=params.maps.kind is IdMapKind.SINGLE,
    )
    cover_system_paths(root)
    if spec.readonly_root:
        mounts.set_attributes(tree, mounts.ATTR_RDONLY)
    mounts.pivot_to_working_directory()


def give_program_its_limits() -> tuple[int, int]:
    """Raise the limits of memory for this process and what it starts (setrlimit(2)), beyond what its cgroup enforces. Returns
    those of open files, which the program gets when it starts: until then as many as there are.

    What a network card reads directly is locked in memory (RDMA), loaders with many workers have many open files, and compilers
    of kernels recurse deeply. Where the hard limit is lower and not ours to raise, the program gets that.
    """
    _raise(resource.RLIMIT_MEMLOCK, resource.RLIM_INFINITY)
    _raise(resource.RLIMIT_STACK, _STACK_BYTES)
    soft, hard = processes.raise_open_file_limit()
    return max(soft, min(hard, _OPEN_FILES)), hard


def _raise(kind: int, wanted: int) -> None:
    """The soft limit to *wanted*, the hard one too where that is permitted (CAP_SYS_RESOURCE); never down."""
    soft, hard = resource.getrlimit(kind)
    if _least(soft, wanted) == wanted:
        return
    with suppress(ValueError, OSError):
        resource.setrlimit(kind, (wanted, hard if _least(hard, wanted) == wanted else wanted))
        return
    with suppress(ValueError, OSError):
        resource.setrlimit(kind, (_least(wanted, hard), hard))


def _least(one: int, other: int) -> int:
    """The lower of two limits; infinity is -1."""
    if resource.RLIM_INFINITY in (one, other):
        return other if one == resource.RLIM_INFINITY else one
    return min(one, other)
