"""`start`: open the gate at which a created container's PID 1 waits, and run the poststart hooks."""

from __future__ import annotations

from runtime.container.handshake import connected_socket, failure, receive, send
from runtime.errors import ContainerError
from runtime.oci.runtime_config import RuntimeConfig
from runtime.oci_runtime import record
from runtime.oci_runtime.diagnostics import Diagnostics
from runtime.oci_runtime.hooks import run_hooks
from runtime.oci_runtime.record import Record
from runtime.oci_runtime.removal import destroy


def start(container: Record, config: RuntimeConfig, diagnostics: Diagnostics) -> None:
    """Start the program. Raises ContainerError; a container whose program or poststart hook failed is destroyed."""
    status = container.status()
    if status != record.CREATED:
        raise ContainerError(f"container `{container.container_id}` is {status}, not created")
    if config.process is None:
        raise ContainerError(f"the configuration of container `{container.container_id}` has no `process`")
    try:
        connection = connected_socket(container.gate)
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
