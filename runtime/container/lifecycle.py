"""Create, start, signal, wait: the life of one container seen from its creator or adopter.

`create` returns with PID 1 at its gate: file systems, namespaces, cgroup and network are there and the program isn't. Whoever
holds the `Container` may die at any moment; init goes on (see `init.py`), and `adopt.py` gives the next one the same value.
"""

from __future__ import annotations

import json
import os
import select
import socket
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.container.handshake import bind_socket, channel, failure, receive, send
from runtime.container.inherited_fds import EXIT_RECORD_BYTES, InheritedFds
from runtime.container.init_setup import InitParams
from runtime.container.logs import LogFiles
from runtime.container.mappings import Mappings, mappings
from runtime.container.network_setup import NetworkSetup
from runtime.container.spawn import spawn_init
from runtime.container.spec import ContainerSpec, ProcessExit
from runtime.errors import ContainerError, ToolFailed
from runtime.kernel import capabilities, id_maps, namespaces, processes
from runtime.kernel.id_maps import IdMapKind, IdMaps
from runtime.kernel.seccomp import program_bytes
from runtime.light_dataclasses import dataclass, field
from runtime.rootfs import owners
from runtime.rootfs.overlay import STRATEGIES, UPPER, WORK, OverlayStrategy, make_writable_directories
from runtime.rootfs.removal import remove_tree

if TYPE_CHECKING:
    from runtime.cgroup.cgroup import Cgroup

_KILLED = 9
_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031
_LAST_WORDS_WITHIN_S = 0.5


@dataclass(slots=True)
class Container:
    """A container whose descriptors we hold; `close` gives them up and does not end it."""

    container_id: str
    pid: int
    """Its init, as this process sees it."""
    pidfd: int
    stdout_fd: int
    stderr_fd: int
    listener_fd: int | None
    listener_port: int | None
    control: socket.socket
    exit_record: Path | None
    exit_fd: int | None = None
    """The record's descriptor: also what is read when there is no path."""
    owner_notes_fd: int | None = None
    """What a build step with one id said of owners (`owner_reports.py`)."""
    made: list[str] = field(default_factory=list)
    """Mount points that the image did not have, relative to its root, outermost first."""
    warnings: list[str] = field(default_factory=list)
    strategy: OverlayStrategy | None = None
    """How the overlay was made."""
    on_terminal: bool = False
    """Whether the program has a terminal: from its start on *stdout_fd* is the master of that."""
    network_proxy: int | None = None
    """The child that serves its network, while it has not been reaped; it ends with the container."""
    ports: tuple[str, ...] = ()
    """What is published, as a person reads it."""
    gpus: str | None = None
    """`GpuNodes.state` of one that was adopted, where it may give its GPUs back."""

    def close(self) -> None:
        """Close every descriptor. Idempotent."""
        for fd in (self.pidfd, self.stdout_fd, self.stderr_fd, self.listener_fd, self.exit_fd, self.owner_notes_fd):
            if fd is not None and fd >= 0:
                os.close(fd)
        self.pidfd = self.stdout_fd = self.stderr_fd = -1
        self.listener_fd = self.exit_fd = self.owner_notes_fd = None
        self.control.close()


def create(
    spec: ContainerSpec,
    *,
    exit_record: Path | None,
    init_socket: Path | None = None,
    held_fds: Sequence[int] = (),
    lease_fds: Sequence[int] = (),
    cgroup: Cgroup | None = None,
    stdin: int | None = None,
    logs: LogFiles | None = None,
    kinds: Sequence[IdMapKind] = tuple(IdMapKind),
    strategies: Sequence[OverlayStrategy] = STRATEGIES,
) -> Container:
    """A container of *spec* with its init at the gate.

    Init keeps *held_fds* and *lease_fds* (of GPUs) open and never shows them to the program. To *logs* it writes the output while
    nobody reads it, once its creator is dead. *kinds* and *strategies* restrict which id maps and ways of stacking may be used.
    Raises Unsupported, ContainerError or NetworkError; then nothing is left running.
    """
    maps = id_maps.choose(uid=spec.uid, gid=spec.gid, kinds=kinds)
    _check(spec, maps)
    make_writable_directories(spec.overlay_dir)
    with NetworkSetup(spec) as network, ExitStack() as for_child, ExitStack() as on_failure:
        stdout_read, stdout_write = _pipe(for_child, on_failure)
        stderr_read, stderr_write = _pipe(for_child, on_failure)
        ours, theirs = channel()
        on_failure.callback(ours.close)
        for_child.callback(theirs.close)
        exit_fd = _open_record(exit_record)
        on_failure.callback(os.close, exit_fd)
        adoption = None if init_socket is None else for_child.enter_context(bind_socket(init_socket))
        kept = capabilities.BUILD_CAPABILITIES if spec.build else capabilities.PROGRAM_CAPABILITIES
        one_id_build = spec.build and maps.kind is IdMapKind.SINGLE
        owner_notes = _place_for_owner_notes(on_failure) if one_id_build else None
        held = tuple(held_fds), tuple(lease_fds)
        inherited = InheritedFds(spec.container_id, theirs, adoption, stdout_read, stderr_read, logs, exit_fd, *held, owner_notes)
        params = InitParams(
            spec=spec,
            maps=maps,
            mappings=_own_mappings(maps, spec, for_child),
            strategies=strategies,
            inherited=inherited,
            stdin=_nothing_to_read(for_child) if stdin is None else stdin,
            stdout_write=stdout_write,
            stderr_write=stderr_write,
            kept=kept,
            seccomp=program_bytes(kept, change_of_owner="pretended" if one_id_build else "made"),
            seccomp_asking=program_bytes(kept, change_of_owner="reported") if one_id_build else None,
            resolv_conf=network.resolv_conf,
            connected=network.is_needed,
        )
        with cgroup.cpu_unlimited() if cgroup is not None else nullcontext():
            pid = spawn_init(params, cgroup)
            for_child.close()  # so that the end of the other side is seen
            container = _bring_up(spec, pid, ours, maps, network)
        on_failure.pop_all()
    container.stdout_fd, container.stderr_fd, container.owner_notes_fd = stdout_read, stderr_read, owner_notes
    container.exit_record, container.exit_fd = exit_record, exit_fd
    return container


def _own_mappings(maps: IdMaps, spec: ContainerSpec, for_child: ExitStack) -> Mappings | None:
    if maps.kind is not IdMapKind.RANGED:
        return None
    made = mappings(maps, spec.binds)
    for_child.callback(made.close)
    return made


def _check(spec: ContainerSpec, maps: IdMaps) -> None:
    if not spec.argv and spec.processes:
        raise ContainerError("a container needs a command")
    if maps.uids.outside(spec.uid) is None or maps.gids.outside(spec.gid) is None:
        raise ContainerError(f"the container has no user {spec.uid}:{spec.gid}: only ids below {id_maps.RANGE_SIZE} are mapped")


def _pipe(for_child: ExitStack, on_failure: ExitStack) -> tuple[int, int]:
    import fcntl

    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    on_failure.callback(os.close, read_end)
    for_child.callback(os.close, write_end)
    try:
        fcntl.fcntl(write_end, _F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        # EPERM beyond the user's share of pipe pages (pipe(7)): the default size only means more wake-ups.
        return read_end, write_end
    return read_end, write_end


def _open_record(path: Path | None) -> int:
    """Where init writes how the program ended: a file of zeros until then, or memory when only the creator waits.

    The zeros hold its place on the disk: a program that fills the disk must not be able to hide how it ended.
    """
    if path is None:
        return os.memfd_create("exit-record", os.MFD_CLOEXEC)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.posix_fallocate(fd, 0, EXIT_RECORD_BYTES)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _nothing_to_read(for_child: ExitStack) -> int:
    fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    for_child.callback(os.close, fd)
    return fd


def _place_for_owner_notes(on_failure: ExitStack) -> int:
    fd = os.memfd_create("owner-notes", os.MFD_CLOEXEC)
    on_failure.callback(os.close, fd)
    return fd


def _bring_up(spec: ContainerSpec, pid: int, control: socket.socket, maps: IdMaps, network: NetworkSetup) -> Container:
    """Write the maps and wire the network of the container whose init, in the making, is *pid*; wait until it is at the gate."""
    answers = _Answers(control)
    try:
        if maps.kind is not IdMapKind.RANGED:
            _give_maps(pid, maps, answers)
        if network.is_needed:
            answers.wait_for("namespaces")
            network.connect(pid, answers.namespaces)
        answers.wait_for("ready")
        network.name_itself(pid)
        # Our own child, not reaped yet: the number is still its own.
        pidfd = os.pidfd_open(pid)
    except BaseException:
        _abandon(pid, answers)
        raise
    finally:
        for fd in answers.namespaces:
            os.close(fd)
    return Container(
        container_id=spec.container_id,
        pid=pid,
        pidfd=pidfd,
        stdout_fd=-1,
        stderr_fd=-1,
        listener_fd=answers.fds[0] if answers.fds else None,
        listener_port=answers.known["port"],
        control=control,
        exit_record=None,
        made=answers.known["made"],
        warnings=answers.known["warnings"],
        strategy=OverlayStrategy(answers.known["strategy"]),
        on_terminal=spec.terminal is not None,
        network_proxy=network.network_proxy,
        ports=network.ports,
    )


def _give_maps(pid: int, maps: IdMaps, answers: _Answers) -> None:
    try:
        namespaces.write_maps(pid, maps)
    except (OSError, ToolFailed):
        # Nobody's are who has ended. All that init says before it has them is why.
        if select.select([answers.control], [], [], _LAST_WORDS_WITHIN_S)[0]:
            answers.wait_for("ready")
        raise
    send(answers.control, {"maps": True})


class _Answers:
    """What init has said so far."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.known: dict[str, Any] = {}
        self.fds: list[int] = []
        self.namespaces: list[int] = []

    def wait_for(self, name: str) -> Any:
        while name not in self.known:
            message = receive(self.control)
            if message is None:
                raise ContainerError(
                    "the container's init ended without a message", hint="was it killed? look at the kernel's log (`dmesg`)"
                )
            self._take(message)
            if "error" in message[0]:
                raise failure(message[0]["error"])
        return self.known[name]

    def _take(self, message: tuple[dict[str, Any], list[int]]) -> None:
        self.known |= message[0]
        if "namespaces" in message[0]:
            self.namespaces += message[1]
        else:
            self.fds += message[1]


def _abandon(pid: int, answers: _Answers) -> None:
    """End and reap the init of a container that will not be."""
    with suppress(ProcessLookupError):
        os.kill(pid, _KILLED)
    _reap(pid)
    for fd in answers.fds:
        os.close(fd)


def _reap(pid: int) -> None:
    with suppress(ChildProcessError):  # a caller that ignores SIGCHLD has that done for it
        os.waitpid(pid, 0)


def start(container: Container, *, env: dict[str, str] | None = None) -> None:
    """Let the program begin, with *env* on top of the spec's. Where it has a terminal, its output is what is read there."""
    if not send(container.control, {"start": env or {}}):
        raise ContainerError(f"container `{container.container_id}` ended before its program was started")
    if container.on_terminal:
        message = receive(container.control)
        if message is None or not message[1]:
            raise ContainerError(f"container `{container.container_id}` ended before its program had a terminal")
        os.close(container.stdout_fd)
        container.stdout_fd = message[1][0]


def signal(container: Container, signum: int) -> None:
    """Send *signum* to the program (each rank), not to its children. Does nothing when the container has ended."""
    send(container.control, {"signal": int(signum)})


def kill(container: Container) -> None:
    """SIGKILL everything in the container: the end of PID 1 ends its namespace. Does nothing when it has ended."""
    processes.send_signal(container.pidfd, _KILLED)


def wait(container: Container, *, timeout_s: float | None = None) -> ProcessExit:
    """Wait for the end of every process in the container. Without a record of init's, init itself was killed, and the program
    with it (`recorded_exit` tells). Raises TimeoutError when *timeout_s* passes first."""
    if not processes.wait_ended(container.pidfd, timeout_s=timeout_s):
        raise TimeoutError(f"container `{container.container_id}` still runs after {timeout_s} s")
    processes.reap(container.pidfd)
    if container.network_proxy is not None:
        _reap(container.network_proxy)
        container.network_proxy = None
    return recorded_exit(container) or ProcessExit(None, _KILLED)


def recorded_exit(container: Container) -> ProcessExit | None:
    """How init says that the program ended; None before that, and forever when init was killed."""
    if container.exit_fd is not None:
        return _parse(os.pread(container.exit_fd, 4096, 0))
    return None if container.exit_record is None else read_exit(container.exit_record)


def owner_notes(container: Container) -> bytes:
    """The owners that could not be noted on files themselves, for `runtime.layer.noted_owners`; empty when there are none."""
    return b"" if container.owner_notes_fd is None else os.pread(container.owner_notes_fd, 1 << 26, 0)


def read_exit(path: Path) -> ProcessExit | None:
    """What init recorded at *path*; None when the program has not ended, or nobody could record it."""
    try:
        return _parse(path.read_bytes())
    except FileNotFoundError:
        return None


def _parse(line: bytes) -> ProcessExit | None:
    record, newline, _zeros = line.partition(b"\n")
    if not newline:
        return None
    document = json.loads(record)
    return ProcessExit(
        document["code"], document["signal"], document.get("peak_process_bytes"), document.get("cpu_s"), document.get("at")
    )


def remove_overlay(overlay_dir: Path) -> None:
    """Remove the writable directory of a container that has ended. Idempotent."""
    if not overlay_dir.exists():
        return

    def remove() -> None:
        for name in (UPPER, WORK):
            if (overlay_dir / name).exists():
                remove_tree(overlay_dir / name)

    if os.geteuid() == 0:
        remove()
    else:
        # overlayfs leaves `work` with mode 0, and sub-ids own what they wrote: root of a user namespace may remove both.
        namespaces.within_user_namespace(id_maps.choose(), remove)
    remove_tree(overlay_dir)


def reown_to_caller(directory: Path, *, lent_by: Path | None = None) -> None:
    """Give everything below *directory* to its owner, and leave no file set-user-id. Call it when the container has ended.

    Where it may have been lent (`BindMount.may_be_lent`) it is given back itself, to whom *lent_by* belongs, and may be a file.
    """
    found = (lent_by or directory).stat()
    if os.geteuid() == 0:
        owners.lend(directory, found.st_uid, found.st_gid)
        return
    if not directory.is_dir():
        return
    maps = id_maps.choose()
    if maps.kind is IdMapKind.SUBIDS:
        # Inside the user namespace the caller is 0.
        namespaces.within_user_namespace(maps, lambda: (owners.reown(directory, 0, 0), None)[1])
    else:
        owners.reown(directory, found.st_uid, found.st_gid)
