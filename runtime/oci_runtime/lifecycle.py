"""The start of a created container, and its end: hooks run, and what is left is killed and removed."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from runtime.cgroup.freezer import thaw
from runtime.container.handshake import connect_socket, failure, receive, send
from runtime.errors import ContainerError, RuntimeFailure
from runtime.oci.runtime_config import RuntimeConfig
from runtime.oci_runtime import record
from runtime.oci_runtime.diagnostics import Diagnostics
from runtime.oci_runtime.hooks import failures_of_hooks, run_hooks
from runtime.oci_runtime.record import Record

_ENDS_WITHIN_S = 10.0


def start(container: Record, config: RuntimeConfig, diagnostics: Diagnostics) -> None:
    """Start the program. Raises ContainerError; a container whose program or poststart hook failed is destroyed."""
    status = container.status()
    if status != record.CREATED:
        raise ContainerError(f"container `{container.container_id}` is {status}, not created")
    if config.process is None:
        raise ContainerError(f"the configuration of container `{container.container_id}` has no `process`")
    try:
        connection = connect_socket(container.gate)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise ContainerError(f"container `{container.container_id}` was started by somebody else, or has ended") from error
    with connection:
        send(connection, {"start": True})
        answer = receive(connection)
        container.gate.unlink(missing_ok=True)
        if answer is not None:
            destroy(container, config, diagnostics)
            raise failure(answer[0]["error"])
    try:
        run_hooks(config.hooks.poststart, "poststart", container.state(status=record.RUNNING), cwd=container.bundle)
    except ContainerError:
        destroy(container, config, diagnostics)
        raise


def destroy(container: Record, config: RuntimeConfig | None, diagnostics: Diagnostics) -> None:
    """Kill what still runs, remove the cgroup, run the poststop hooks, forget the container."""
    _kill(container)
    if container.cgroup.directories:
        container.cgroup.kill()
        try:
            container.cgroup.remove()
        except ContainerError as error:
            diagnostics.warning(error.message)
    if config is not None and config.hooks.poststop:
        state = container.state(status=record.STOPPED)
        for failed in failures_of_hooks(config.hooks.poststop, "poststop", state, cwd=container.bundle or None):
            diagnostics.warning(failed)
    container.remove()


def _kill(container: Record) -> None:
    if container.pid == 0:
        return
    with suppress(RuntimeFailure):
        container.signal(signal.SIGKILL)
        thaw(container.cgroup)  # what v1 has frozen doesn't even die
    deadline = time.monotonic() + _ENDS_WITHIN_S
    while container.alive() and time.monotonic() < deadline:
        time.sleep(0.002)
    with suppress(ChildProcessError):  # ours only where `create` or `run` failed
        os.waitpid(container.pid, os.WNOHANG)
