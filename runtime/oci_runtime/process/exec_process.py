"""Another program in a container that runs: into its cgroup and namespaces, then the same last steps as PID 1 (`exec`).

The process that enters is undumpable before it is inside: the container's processes can neither trace it nor read what it has
from us (CVE-2016-9962), and every descriptor of ours is closed before (CVE-2024-21626).
"""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from runtime.cgroup.cgroup import Cgroup
from runtime.cgroup.entry import enter, fork_into_cgroup, open_entry
from runtime.container.handshake import ask, channel, failure, receive, report_and_exit, send
from runtime.errors import ContainerError
from runtime.kernel import libc, processes
from runtime.kernel.number_list import number_list
from runtime.light_typing import NamedTuple, NoReturn
from runtime.oci.runtime_config import Process, RuntimeConfig
from runtime.oci_runtime.creation import prepare_start
from runtime.oci_runtime.process.container_init import FLAGS, become_root
from runtime.oci_runtime.process.process_attributes import set_limits, set_priorities
from runtime.oci_runtime.process.program_start import Start, environment, exec_program, find_program, own_streams
from runtime.oci_runtime.record import Record
from runtime.rootfs.targets import Root

_FILES = {"mount": "mnt", "network": "net", "time": "time_for_children", "pid": "pid"}


class ExecOptions(NamedTuple):
    """What `exec` wants beside the process."""

    console: socket.socket | None = None
    preserved: int = 0
    cgroup: str | None = None
    """Below the container's own."""


def exec_in(container: Record, config: RuntimeConfig, process: Process, options: ExecOptions) -> int:
    """Start *process* in *container*; its number. It is our child. Raises ContainerError."""
    start = prepare_start(config, process)
    pidfd = os.pidfd_open(container.pid)
    try:
        if not container.alive():
            raise ContainerError(f"container `{container.container_id}` is not running")
        flags = _namespaces(container.pid)
        root = os.open(f"/proc/{container.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        control, theirs = channel()
        with open_entry(_cgroup(container, options.cgroup)) as (directory, files):
            first, cgroups = fork_into_cgroup(directory, files)
            if first == 0:
                control.close()
                _run_exec(container, config, start, options, theirs, pidfd, root, flags, cgroups)
        theirs.close()
        os.close(root)
        with control:
            return _serve(control, container, process, first)
    finally:
        os.close(pidfd)


def _namespaces(pid: int) -> int:
    """Flags of the namespaces that process *pid* does not share with us."""
    flags = 0
    for kind, flag in FLAGS.items():
        name = _FILES.get(kind, kind)
        try:
            theirs, ours = os.stat(f"/proc/{pid}/ns/{name}"), os.stat(f"/proc/self/ns/{name}")
        except FileNotFoundError:
            continue  # a kernel without this kind, or the process has ended: then setns says so
        if theirs.st_ino != ours.st_ino:
            flags |= flag
    return flags


def _serve(control: socket.socket, container: Record, process: Process, first: int) -> int:
    """Set what the process gets from outside, once its number is known; the number, when it has become its program."""
    pid, is_waiting = 0, False
    while True:
        message = receive(control)
        if message is None and pid:
            return pid
        if message is None or "error" in message[0]:
            processes.reap_children()
            if message is None:
                raise ContainerError(f"the process in container `{container.container_id}` was killed before it started")
            raise failure(message[0]["error"])
        if "pid" in message[0]:
            pid = message[0]["pid"]
            if pid != first:
                os.waitpid(first, 0)
        # It may ask before its number is here: that comes from another process.
        is_waiting = is_waiting or "limit" in message[0]
        if pid and is_waiting:
            set_priorities(pid, process)
            set_limits(pid, process)
            send(control, {})
            is_waiting = False


def _cgroup(container: Record, below: str | None) -> Cgroup:
    if not below:
        return container.cgroup
    if ".." in below.split("/"):
        raise ContainerError(f"`--cgroup` leads out of the container's cgroup: `{below}`")
    whole, part = container.cgroup, below.strip("/")
    controllers = {key: directory / part for key, directory in whole.controllers.items() if (directory / part).is_dir()}
    unified = whole.unified / part if whole.unified is not None and (whole.unified / part).is_dir() else None
    return Cgroup(whole.name, controllers, unified) if controllers or unified is not None else whole


def _set_affinity(process: Process) -> None:
    initial, final = process.exec_cpu_affinity
    for numbers in (initial, final):
        if numbers:
            with suppress(OSError):  # CPUs that this machine, or the cpuset, has not
                os.sched_setaffinity(0, number_list(numbers))


def _run_exec(
    container: Record,
    config: RuntimeConfig,
    start: Start,
    options: ExecOptions,
    control: socket.socket,
    pidfd: int,
    root: int,
    flags: int,
    cgroups: Sequence[Path],
) -> NoReturn:
    try:
        gc.freeze()
        kept = [control.fileno(), pidfd, root, *start.descriptors]
        kept += [] if options.console is None else [options.console.fileno()]
        processes.close_fds(keep=kept, first=3 + options.preserved)
        processes.make_undumpable()
        enter(cgroups)
        _set_affinity(start.process)
        if flags:
            libc.setns(pidfd, flags)
        os.close(pidfd)
        if flags & FLAGS["user"]:
            become_root(config.linux)
        os.fchdir(root)
        if not flags & FLAGS["mount"]:
            os.chroot(".")
        os.chdir("/")
        os.close(root)
        pid = processes.fork_sibling() if flags & (FLAGS["pid"] | FLAGS["time"]) else 0
        if pid != 0:
            send(control, {"pid": pid})
            os._exit(0)
        if not flags & (FLAGS["pid"] | FLAGS["time"]):
            send(control, {"pid": os.getpid()})
        _run_process(container, start, options, control)
    except BaseException as error:
        report_and_exit(control, error)


def _run_process(container: Record, start: Start, options: ExecOptions, control: socket.socket) -> NoReturn:
    try:
        with suppress(OSError):  # no keyrings in this kernel, or a filter around us
            libc.join_session_keyring(container.container_id)
        os.setsid()
        if start.process.terminal:
            from runtime.oci_runtime.process.terminal import take_new_terminal

            root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            take_new_terminal(Root(root, None), start.process, options.console)
            os.close(root)
        else:
            own_streams(start.process.user.uid)
        env = environment(start)
        program = find_program(start.process, env)
        ask(control, "limit")
        exec_program(start, program, env)
    except BaseException as error:
        report_and_exit(control, error)
