"""From a fork of the creator to the container's PID 1 at its gate: the order of calls that makes a container.

The order is a security decision (docs/decisions/020-the-order-of-calls-that-makes-a-container.md):

 1. helper, as root in the *initial* user namespace and a private mount namespace: overlay from id-mapped layers, host mounts,
    files in memory. An ordinary user's helper enters the new user namespace first, since only there it may mount.
 2. helper enters the user namespace and unshares the rest: the mounts of step 1 are copies now, and locked.
 3. PID 1 (a sibling of the helper, so that the creator can wait for it): /proc, /sys, /dev; a bind of the root on itself, for a
    locked root can't be pivoted to; pivot; capabilities dropped; listener; gate.

Everything here runs in processes with one thread. A failure travels to the creator as a message.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from runtime.container.handshake import describe, receive, send
from runtime.container.init import Holdings, Init
from runtime.container.program import Program
from runtime.container.program_limits import give_program_its_limits
from runtime.container.spec import ContainerSpec
from runtime.kernel import capabilities, libc, mounts, namespaces, processes
from runtime.kernel.id_maps import IdMapKind, IdMaps, owner_first, swapped
from runtime.network import loopback
from runtime.rootfs.device_files import add_device_files
from runtime.rootfs.etc_files import etc_files
from runtime.rootfs.host_mounts import MapFor, attach_files, attach_host_mounts, directory_for
from runtime.rootfs.overlay import LayerMaps, Rung, mount_overlay
from runtime.rootfs.system_mounts import cover_system_paths, mount_dev, mount_proc, mount_sys
from runtime.rootfs.targets import Root
from runtime.rootfs.wanted import BindMount, LayersMount, TmpfsMount

_INIT_CAPABILITIES = frozenset({"CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"})


@dataclass(frozen=True, slots=True)
class Birth:
    """What the child needs to know; it travels by fork, not by message."""

    spec: ContainerSpec
    maps: IdMaps
    rungs: Sequence[Rung]
    holdings: Holdings
    stdin: int
    stdout_write: int
    stderr_write: int
    kept: frozenset[str]
    seccomp: bytes
    seccomp_asking: bytes | None
    resolv_conf: str
    hands_out_namespaces: bool = False
    """Whether somebody outside has to enter the network namespace of an ordinary user's container."""


def be_helper(birth: Birth) -> NoReturn:
    """Make everything that must be made from outside, start PID 1, end."""
    try:
        gc.freeze()
        open_files = _settle(birth)
        if birth.maps.kind is IdMapKind.RANGED:
            root, warnings, rung, user_namespace = _furnish_as_root(birth)
            namespaces.enter_user_namespace(user_namespace, birth.maps, keep_groups=birth.spec.host_groups)
        else:
            namespaces.enter_user_namespace(
                namespaces.user_namespace(birth.maps), birth.maps, keep_groups=birth.spec.host_groups
            )
            root, warnings, rung = _furnish(birth, LayerMaps(), None)
        if receive(birth.holdings.control) is None:
            processes.reap_children()
            os._exit(1)
        # Undumpable from its first instruction: PID 1 is a copy of the launcher, secrets included.
        processes.make_undumpable()
        # The creator has put this process into its cgroup by now, so that the new cgroup namespace starts there.
        own_network = 0 if birth.spec.network == "host" else namespaces.NEWNET
        libc.unshare(
            namespaces.NEWNS | namespaces.NEWPID | namespaces.NEWUTS | namespaces.NEWIPC | namespaces.NEWCGROUP | own_network
        )
        if birth.hands_out_namespaces:
            _hand_out_namespaces(birth)
        closed, closing = os.pipe2(os.O_CLOEXEC)
        pid = processes.fork_sibling()
        if pid == 0:
            _be_init(birth, open_files)
        os.close(closing)
        send(birth.holdings.control, {"pid": pid, "made": root.made, "warnings": warnings, "rung": rung})
        processes.reap_children()
        # Whoever closes the layers' detached trees last pays for it (see `overlay.py`): not init.
        os.read(closed, 1)
        os._exit(0)
    except BaseException as error:
        _fail(birth, error)


def _hand_out_namespaces(birth: Birth) -> None:
    """PID 1 will be undumpable, so that its creator can't open them by its number."""
    fds = tuple(os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("user", "net"))
    send(birth.holdings.control, {"namespaces": True}, fds)
    for fd in fds:
        os.close(fd)


def _fail(birth: Birth, error: BaseException) -> NoReturn:
    try:
        send(birth.holdings.control, {"error": describe(error)})
        processes.reap_children()
    finally:
        os._exit(1)


def _settle(birth: Birth) -> tuple[int, int]:
    """Leave the creator's terminal, descriptors and signals behind. Returns the limits of open files that the program gets."""
    os.setsid()
    processes.leave_session_keyring()
    os.umask(0o022)
    # Python's handlers came along with the fork; a signal meant for the creator must not run them here.
    processes.reset_signals()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for number, fd in enumerate((birth.stdin, birth.stdout_write, birth.stderr_write)):
        os.dup2(fd, number)
    processes.close_all_but((0, 1, 2, *birth.holdings.descriptors()))
    processes.rename("launch-init")
    return processes.raise_open_file_limit() if birth.spec.build else give_program_its_limits()


def _furnish_as_root(birth: Birth) -> tuple[Root, list[str], Rung, int]:
    """`_furnish` with id-mapped mounts, and the user namespace whose map they have."""
    uid_base, gid_base = birth.maps.uids.extents[0].outside, birth.maps.gids.extents[0].outside
    user_namespace, swap = namespaces.user_namespace_and_mapping(birth.maps, swapped(uid_base), swapped(gid_base))
    known = {(0, 0, (0, 0)): user_namespace}

    def map_for(uid: int, gid: int, inside: tuple[int, int] = (0, 0)) -> int:
        if (uid, gid, inside) not in known:
            maps = owner_first(uid, uid_base, inside[0]), owner_first(gid, gid_base, inside[1])
            known[uid, gid, inside] = namespaces.mapping(*maps, reap=False)
        return known[uid, gid, inside]

    return *_furnish(birth, LayerMaps(user_namespace, swap, shift=(uid_base, gid_base)), map_for), user_namespace


def _furnish(birth: Birth, layer_maps: LayerMaps, map_for: MapFor | None) -> tuple[Root, list[str], Rung]:
    """The overlay in a mount namespace of this process's own, with the host's files in it. It becomes the working directory."""
    spec = birth.spec
    libc.unshare(namespaces.NEWNS)
    mounts.make_private()
    overlay, rung = mount_overlay(spec.layers, spec.overlay_dir, maps=layer_maps, rungs=birth.rungs)
    place = os.open(spec.overlay_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mounts.attach(overlay, place)
    os.fchdir(overlay)
    owner = birth.maps.process_owner(0, 0)
    root = Root(overlay, owner)
    home = spec.env.get("HOME", "/")
    program_owner = _owner_for(birth, spec.uid, spec.gid)
    wanted: tuple[BindMount | TmpfsMount | LayersMount, ...]
    wanted = (*spec.binds, *spec.other_layers, *spec.tmpfs)
    warnings = attach_host_mounts(root, wanted, map_for=map_for, owner=owner, layer_maps=layer_maps, rungs=birth.rungs)
    add_device_files(root, spec.host_files, spec.links, spec.loader_dirs, owner=owner)
    etc = etc_files(overlay, hostname=spec.hostname, resolv_conf=birth.resolv_conf, uid=spec.uid, gid=spec.gid, home=home)
    attach_files(root, etc, owner=owner)
    attach_files(root, spec.tmpfs_files, owner=program_owner, owner_for=lambda uid, gid: _owner_for(birth, uid, gid))
    directory_for(root, "/tmp", owner=owner, mode=0o1777)
    for directory in (home, spec.cwd):
        if directory.startswith("/"):
            directory_for(root, directory, owner=program_owner)
    return root, warnings, rung


def _owner_for(birth: Birth, uid: int, gid: int) -> tuple[int, int] | None:
    """Whom the helper gives files to that belong to these ids of the container: it may be inside the user namespace already."""
    return birth.maps.process_owner(uid, gid) or ((uid, gid) if birth.maps.kind is IdMapKind.SUBIDS else None)


def _be_init(birth: Birth, open_files: tuple[int, int]) -> NoReturn:
    """PID 1, from the clone to the end of the container."""
    try:
        spec = birth.spec
        processes.close_all_but((0, 1, 2, *birth.holdings.descriptors()))
        _change_root(birth)
        socket.sethostname(spec.hostname)
        if spec.network != "host":
            loopback.bring_up()
        listener = loopback.listen() if spec.loopback_listener else None
        # Nobody inside shall have all of init's ids, and with them the right to take its limits down (prlimit(2)).
        os.setresuid(-1, -1, max(one.inside + one.count for one in birth.maps.uids.extents) - 1)
        processes.make_undumpable()
        program_capabilities = capabilities.mask(birth.kept)
        own = program_capabilities | capabilities.mask(_INIT_CAPABILITIES)
        processes.limit_capabilities(own)
        libc.capset(effective=own, permitted=own)
        fds = (*birth.holdings.descriptors(), *((listener.fileno(),) if listener else ()))
        processes.close_all_but((0, 1, 2, *fds))
        program = Program(
            argv=spec.argv,
            env=spec.env,
            cwd=spec.cwd,
            uid=spec.uid,
            gid=spec.gid,
            groups=None if spec.host_groups else spec.groups,
            one_id=birth.maps.kind is IdMapKind.SINGLE,
            capabilities=program_capabilities,
            seccomp=birth.seccomp,
            seccomp_asking=birth.seccomp_asking,
            open_files=open_files,
            on_terminal=spec.terminal,
        )
        init = Init(program, birth.holdings, listener, spec.processes, spec.rank_grace_s)
        port = listener.getsockname()[1] if listener else None
        send(birth.holdings.control, {"ready": True, "port": port}, (listener.fileno(),) if listener else ())
    except BaseException as error:
        _fail(birth, error)
    try:
        os._exit(init.run())
    except BaseException as error:
        os.write(2, f"launch: the container's init failed: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(125)


def _change_root(birth: Birth) -> None:
    """System mounts below the working directory, which becomes `/`."""
    spec = birth.spec
    # A locked mount can't be the new root (EINVAL): a bind of it on itself can, and the locked ones below come along.
    below = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    tree = mounts.clone_tree(".", recursive=True)
    mounts.attach(tree, below)
    os.fchdir(tree)
    root = Root(tree, None)
    mount_proc(root, covers=spec.proc_covers)
    mount_sys(root, own_network=spec.network != "host")
    mount_dev(
        root,
        shm_bytes=spec.shm_bytes,
        devices=spec.devices,
        links=tuple(link for link in spec.links if link.path.startswith("/dev/")),
        single_id=birth.maps.kind is IdMapKind.SINGLE,
    )
    cover_system_paths(root)
    if spec.readonly_root:
        mounts.set_attributes(tree, mounts.ATTR_RDONLY)
    # Old root and new root are the same directory, so no place for the old one is needed (pivot_root(2), "pivot_root(".", ".")").
    libc.pivot_root(".", ".")
    libc.umount(".", mounts.MNT_DETACH)
    os.chdir("/")
