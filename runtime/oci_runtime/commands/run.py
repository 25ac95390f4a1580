"""`run [--bundle DIR] ID`: create, start, wait, delete."""

from __future__ import annotations

import os
import signal
import socket
from types import FrameType

from runtime.oci.runtime_config import RuntimeConfig
from runtime.oci_runtime.commands import create as create_command
from runtime.oci_runtime.creation import Wanted, create, read_bundle
from runtime.oci_runtime.main import Context
from runtime.oci_runtime.options import Option, Parsed
from runtime.oci_runtime.record import Record
from runtime.oci_runtime.removal import destroy
from runtime.oci_runtime.starting import start

SYNOPSIS = "[OPTIONS] ID"
OPTIONS = (
    *create_command.OPTIONS,
    Option("detach", "d", False, "don't wait for the end"),
    Option("keep", "", False, "don't delete it at the end"),
)

_NOT_FORWARDED = (signal.SIGCHLD, signal.SIGURG, signal.SIGPIPE, signal.SIGWINCH, signal.SIGKILL, signal.SIGSTOP)


def run(given: Parsed, context: Context) -> int:
    wanted = create_command.wanted(given, context)
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


def _wants_terminal(wanted: Wanted) -> bool:
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
