"""`create`: from a bundle to a container whose PID 1 waits for `start`. The part that happens outside, in the command.

The child (`container_process.py`) asks for what needs this process's privileges: id maps, cgroup, offsets of clocks, hooks. When
anything fails, nothing is left: no process, cgroup or record; poststop hooks run as they would for a container that ended.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from runtime.cgroup.cgroup import Cgroup
from runtime.cgroup.entry import fork_into_cgroup, open_entry
from runtime.container.handshake import bind_socket, channel, failure, receive, send
from runtime.errors import BadContent, ContainerError
from runtime.kernel import processes
from runtime.kernel.process_identity import start_time
from runtime.light_typing import Any, NamedTuple
from runtime.oci.runtime_config import Mount, Process, RuntimeConfig, config_from_json
from runtime.oci_runtime import record
from runtime.oci_runtime.cgroups.bundle_cgroup import apply, make_cgroup
from runtime.oci_runtime.diagnostics import Diagnostics
from runtime.oci_runtime.hooks import run_hooks
from runtime.oci_runtime.lifecycle import destroy
from runtime.oci_runtime.mounts.rootfs import find_rootfs
from runtime.oci_runtime.process.container_init import InitParams, run_as_init
from runtime.oci_runtime.process.process_attributes import check_limits, set_limits, set_priorities
from runtime.oci_runtime.process.program_start import Start, unknown_capabilities
from runtime.oci_runtime.process.security_labels import labels_of, selinux_is_on
from runtime.oci_runtime.record import Record
from runtime.whole_file import replace_file


class CreateOptions(NamedTuple):
    """What the command line says of a new container."""

    container_id: str
    root: Path
    bundle: Path
    config_file: str = "config.json"
    pid_file: Path | None = None
    console_socket: Path | None = None
    console: socket.socket | None = None
    """Who gets the terminal when it is ourselves."""
    preserved: int = 0
    extra_env: tuple[tuple[str, str], ...] = ()
    """Variables that the program gets unless its document has them."""
    keyring: bool = True
    pivot: bool = True
    cgroups: bool = True
    systemd_cgroup: bool = False


def read_bundle(bundle: Path, config_file: str = "config.json") -> tuple[bytes, RuntimeConfig]:
    """The configuration as bytes and as a value. Raises ContainerError or BadContent."""
    path = bundle / config_file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ContainerError(
            f"cannot read `{path}`: {os.strerror(error.errno or 0).lower()}", hint="`--bundle` names the bundle's directory"
        ) from error
    try:
        document = json.loads(content)
    except ValueError as error:
        raise BadContent(f"`{path}` is not valid JSON: {error}") from error
    return content, config_from_json(document)


def create(wanted: CreateOptions, diagnostics: Diagnostics) -> Record:
    """Create the container. Raises ContainerError, BadContent or Unsupported; then nothing of it is left."""
    bundle = wanted.bundle.resolve()
    content, config = read_bundle(bundle, wanted.config_file)
    if config.root_path is None:
        raise BadContent("the configuration has no `root`")
    if config.linux.net_devices and config.linux.namespace("network") is None:
        raise BadContent("`linux.netDevices` names devices to be moved, and the container has no `network` namespace of its own")
    # Without `process` a container can be made, and not started (runtime.md, "Start").
    start = prepare_start(config, config.process or Process(args=(), cwd="/"))
    for name in unknown_capabilities(start.process):
        diagnostics.warning(f"no such capability: `{name}`")
    if start.process.terminal:
        import runtime.oci_runtime.process.terminal  # noqa: F401  the child is in another root later, or may not read our files
    directory = record.claim(wanted.root, wanted.container_id)
    made = Record(
        directory, wanted.container_id, 0, 0, str(bundle), record.now(), str(os.geteuid()), Cgroup(""), config.annotations
    )
    creation = _Creation(wanted, config, bundle, start, diagnostics, made)
    try:
        (directory / "config.json").write_bytes(content)
        creation.run()
        creation.made.write()
        if wanted.pid_file is not None:
            write_pid_file(wanted.pid_file, creation.made.pid)
    except BaseException:
        destroy(creation.made, config, diagnostics)
        raise
    return creation.made


def prepare_start(config: RuntimeConfig, process: Process) -> Start:
    """Everything about the program that can be said, and refused, beforehand."""
    seccomp = None
    if config.linux.seccomp is not None:
        from runtime.oci_runtime.process.seccomp_compile import compile_filter

        seccomp = compile_filter(config.linux.seccomp)
    check_limits(process)
    return Start(process=process, seccomp=seccomp, seccomp_listener=None, labels=labels_of(process))


def write_pid_file(path: Path, pid: int) -> None:
    """The number alone, complete from the moment the file is there."""
    replace_file(path, str(pid), mode=0o666)


class _Creation:
    """One container while it is made."""

    def __init__(
        self, wanted: CreateOptions, config: RuntimeConfig, bundle: Path, start: Start, diagnostics: Diagnostics, made: Record
    ) -> None:
        self.wanted = wanted
        self.config = config
        self.bundle = bundle
        self.start = start
        self.diagnostics = diagnostics
        self.made = made
        self._first = -1

    def run(self) -> None:
        """Make it; `made` is complete then."""
        if self.wanted.cgroups and not self.wanted.systemd_cgroup:
            self._make_cgroups(self.config.linux.cgroups_path)
        # Should this command be killed: `delete --force` finds what was made.
        self.made.write()
        with ExitStack() as ours:
            control, theirs = channel()
            ours.callback(control.close)
            params = self._params(theirs, ours)
            with open_entry(self.made.cgroup) as (directory, files):
                self._first, left = fork_into_cgroup(directory, files)
                if self._first == 0:
                    control.close()
                    run_as_init(params, left)
            theirs.close()
            if self.wanted.cgroups and self.wanted.systemd_cgroup:
                self._enter_scope()
            self._serve(control)
        self.made = self.made._replace(started=start_time(self.made.pid))
        set_limits(self.made.pid, self.start.process)

    def _make_cgroups(self, path: str | None) -> None:
        self.made = self.made._replace(cgroup=make_cgroup(path, self.wanted.container_id))

    def _enter_scope(self) -> None:
        """Have systemd put the child into a scope; where there is none to ask, put it where systemd would have."""
        from runtime.cgroup.systemd_scope import Property, start_scope
        from runtime.oci_runtime.cgroups.systemd_unit import cgroup_path, limit_properties, scope_of

        path = self.config.linux.cgroups_path
        slice_name, unit = scope_of(path, self.wanted.container_id)
        properties: list[Property] = [*limit_properties(self.config.linux.resources)]
        if slice_name:
            properties.append(("Slice", "s", slice_name))
        directory = start_scope(unit, self._first, properties)
        if directory is not None:
            self.made = self.made._replace(cgroup=Cgroup(self.wanted.container_id, {}, directory))
        else:
            self._make_cgroups(cgroup_path(path, self.wanted.container_id))
            self.made.cgroup.add(self._first)
        self.made.write()

    def _params(self, control: Any, ours: ExitStack) -> InitParams:
        linux = self.config.linux
        joined: dict[str, int] = {}
        for namespace in linux.namespaces:
            if namespace.path is not None:
                joined[namespace.kind] = _open_namespace(namespace.kind, namespace.path)
                ours.callback(os.close, joined[namespace.kind])
        prepared: dict[int, int] = {}
        devices: dict[str, int] = {}
        if linux.namespace("user") is not None or any(_is_id_mapped(mount) for mount in self.config.mounts):
            from runtime.oci_runtime.mounts.prepared_mounts import prepare_devices, prepare_mounts

            prepared = prepare_mounts(self.config, self.bundle)
            devices = prepare_devices(linux)
        for tree in (*prepared.values(), *devices.values()):
            ours.callback(os.close, tree)
        gate = ours.enter_context(bind_socket(self.made.gate))
        console = self.wanted.console
        if self.start.process.terminal and self.wanted.console_socket is not None:
            from runtime.oci_runtime.process.terminal import connect_console

            console = ours.enter_context(connect_console(self.wanted.console_socket))
        rootfs = self.bundle / (self.config.root_path or "")
        rootfs_fd = None
        if "mount" not in joined:
            rootfs_fd = find_rootfs(rootfs)
            ours.callback(os.close, rootfs_fd)
        return InitParams(
            container_id=self.wanted.container_id,
            config=self.config,
            bundle=self.bundle,
            rootfs=rootfs,
            rootfs_fd=rootfs_fd,
            control=control,
            gate=gate,
            console=console,
            joined=joined,
            prepared=prepared,
            devices=devices,
            start=self._with_listener(ours),
            preserved=self.wanted.preserved,
            keyring=self.wanted.keyring,
            pivot=self.wanted.pivot,
            # Without SELinux nobody asks for labels of files, and none is lost by leaving them out.
            mount_label=linux.mount_label if linux.mount_label and selinux_is_on() else None,
            state=self.made.state(status=record.CREATED),
        )

    def _with_listener(self, ours: ExitStack) -> Start:
        linux = self.config.linux
        seccomp = linux.seccomp
        one_id = linux.namespace("user") is not None and os.geteuid() != 0 and len(linux.gid_mappings) == 1
        start = self.start._replace(no_setgroups=one_id, extra_env=self.wanted.extra_env)
        if self.start.seccomp is None or not self.start.seccomp.notifies or seccomp is None:
            return start
        if seccomp.listener_path is None:
            raise BadContent("`linux.seccomp` has SCMP_ACT_NOTIFY and no `listenerPath`")
        from runtime.oci_runtime.process.terminal import connect_console

        connection = connect_console(Path(seccomp.listener_path))
        ours.callback(connection.close)
        message = {
            "ociVersion": record.OCI_VERSION,
            "fds": ["seccompFd"],
            "pid": 0,
            "metadata": seccomp.listener_metadata,
            "state": self.made.state(status=record.CREATING),
        }
        return start._replace(seccomp_listener=connection.fileno(), listener_message=json.dumps(message).encode())

    def _serve(self, control: Any) -> None:
        """Answer the child until it is ready."""
        steps: dict[str, Callable[[], dict[str, Any]]] = {
            "map": self._write_maps,
            "cgroup": dict,  # where systemd places it, that has been done before this is asked
            "offsets": self._write_offsets,
            "devices": self._move_devices,
            "enter": self._limit,
            "hooks": self._run_hooks,
        }
        waiting: list[str] = []
        while True:
            message = receive(control)
            if message is None:
                processes.reap_children()  # both processes of a failed container, which end by themselves
                raise ContainerError("the container's process ended without a message", hint="look at the kernel's log (`dmesg`)")
            if "error" in message[0]:
                processes.reap_children()
                raise failure(message[0]["error"])
            if "pid" in message[0]:
                self.made = self.made._replace(pid=message[0]["pid"])
                if self.made.pid != self._first:
                    os.waitpid(self._first, 0)
            elif "ready" in message[0]:
                return
            else:
                waiting.extend(message[0])
            while waiting and (self.made.pid or waiting[0] not in ("enter", "hooks")):
                send(control, steps[waiting.pop(0)]())

    def _write_maps(self) -> dict[str, Any]:
        from runtime.oci_runtime.mounts.prepared_mounts import write_container_maps

        write_container_maps(self._first, self.config.linux)
        return {}

    def _write_offsets(self) -> dict[str, Any]:
        lines = "".join(f"{clock} {seconds} {nanoseconds}\n" for clock, seconds, nanoseconds in self.config.linux.time_offsets)
        if lines:
            with open(f"/proc/{self._first}/timens_offsets", "w") as file:
                file.write(lines)
        return {}

    def _move_devices(self) -> dict[str, Any]:
        from runtime.network.moved_device import move_device

        netns = os.open(f"/proc/{self._first}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            for name, inside_name in self.config.linux.net_devices:
                move_device(name, netns_fd=netns, inside_name=inside_name)
        finally:
            os.close(netns)
        return {}

    def _limit(self) -> dict[str, Any]:
        apply(self.made.cgroup, self.config.linux.resources)
        set_priorities(self.made.pid, self.start.process, self.config.linux)
        return {}

    def _run_hooks(self) -> dict[str, Any]:
        hooks = self.config.hooks
        state = self.made.state(status=record.CREATED)
        run_hooks(hooks.prestart, "prestart", state, cwd=str(self.bundle))
        run_hooks(hooks.create_runtime, "createRuntime", state, cwd=str(self.bundle))
        return {"pid": self.made.pid}


def _is_id_mapped(mount: Mount) -> bool:
    return bool(mount.uid_mappings) or "idmap" in mount.options or "ridmap" in mount.options


def _open_namespace(kind: str, path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ContainerError(f"cannot open the `{kind}` namespace `{path}`: {os.strerror(error.errno or 0).lower()}") from error
