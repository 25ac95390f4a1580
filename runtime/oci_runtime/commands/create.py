"""`create [--bundle DIR] ID`; `run [--bundle DIR] ID`: create, start, wait, delete."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from types import FrameType

from runtime.oci.runtime_config import RuntimeConfig
from runtime.oci_runtime.command_line import Command, Context, Option, Parsed
from runtime.oci_runtime.creation import CreateOptions, create, read_bundle
from runtime.oci_runtime.lifecycle import destroy, start
from runtime.oci_runtime.record import Record

_OPTIONS = (
    Option("bundle", "b", True, "the bundle's directory; default: the working directory"),
    Option("config", "f", True, "the configuration in it; default: config.json"),
    Option("pid-file", "", True, "file that gets the number of the container's process"),
    Option("console-socket", "", True, "socket that gets the terminal"),
    Option("preserve-fds", "", True, "so many descriptors from 3 on stay open in the program"),
    Option("no-pivot", "", False, "chroot instead of pivot_root"),
    Option("no-new-keyring", "", False, "keep the caller's session keyring"),
    Option("no-subreaper", "", False, "taken and not used"),
)


def _create(given: Parsed, context: Context) -> int:
    create(_create_options(given, context), context.diagnostics)
    return 0


def _create_options(given: Parsed, context: Context) -> CreateOptions:
    """What the options ask for."""
    pid_file, console = given.value("pid-file"), given.value("console-socket")
    activated = os.environ.get("LISTEN_FDS", "")
    return CreateOptions(
        container_id=given.one_id(),
        root=context.root,
        bundle=Path(given.value("bundle") or "."),
        config_file=given.value("config") or "config.json",
        pid_file=Path(pid_file).absolute() if pid_file else None,
        console_socket=Path(console).absolute() if console else None,
        # Sockets of systemd come first (sd_listen_fds(3)); in the container PID 1 is who they are for.
        preserved=given.number("preserve-fds") + (int(activated) if activated.isdigit() else 0),
        extra_env=(("LISTEN_FDS", activated), ("LISTEN_PID", "1")) if activated.isdigit() else (),
        keyring=not given.flag("no-new-keyring"),
        pivot=not given.flag("no-pivot"),
        cgroups=context.cgroups,
        systemd_cgroup=context.systemd_cgroup,
    )


_NOT_FORWARDED = (signal.SIGCHLD, signal.SIGURG, signal.SIGPIPE, signal.SIGWINCH, signal.SIGKILL, signal.SIGSTOP)


def _run(given: Parsed, context: Context) -> int:
    wanted = _create_options(given, context)
    detached = given.flag("detach")
    console = None
    if not detached and wanted.console_socket is None and _wants_terminal(wanted):
        console, theirs = socket.socketpair()
        wanted = wanted._replace(console=theirs)
    container = create(wanted, context.diagnostics)
    config = container.config()
    if not detached:
        _forward_signals(container)
    if console is None:
        start(container, config, context.diagnostics)
        code = 0 if detached else _wait(container)
    else:
        code = _wait_on_terminal(container, config, console, context)
    if not detached and not given.flag("keep"):
        destroy(container, config, context.diagnostics)
    return code


def _wants_terminal(wanted: CreateOptions) -> bool:
    _content, config = read_bundle(wanted.bundle, wanted.config_file)
    return config.process is not None and config.process.terminal


def _forward_signals(container: Record) -> None:
    def forward(number: int, _frame: FrameType | None) -> None:
        os.kill(container.pid, number)

    for number in signal.valid_signals() - set(_NOT_FORWARDED):
        try:
            signal.signal(number, forward)
        except (OSError, ValueError):
            continue  # the C library's own


def _wait(container: Record) -> int:
    """The exit code as a shell shows it. The process is our child."""
    status = os.waitstatus_to_exitcode(os.waitpid(container.pid, 0)[1])
    return status if status >= 0 else 128 - status


def _wait_on_terminal(container: Record, config: RuntimeConfig, console: socket.socket, context: Context) -> int:
    from runtime.oci_runtime.process.terminal import Relay, receive_master

    master = receive_master(console)
    with Relay(master) as relay:
        start(container, config, context.diagnostics)
        while relay.step(0.5):
            continue
    return _wait(container)


COMMANDS = {
    "create": Command("[OPTIONS] ID", _OPTIONS, _create),
    "run": Command(
        "[OPTIONS] ID",
        (
            *_OPTIONS,
            Option("detach", "d", False, "don't wait for the end"),
            Option("keep", "", False, "don't delete it at the end"),
        ),
        _run,
    ),
}
