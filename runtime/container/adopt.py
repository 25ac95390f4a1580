"""Take over a container whose supervisor died: ask its init for the descriptors that it keeps.

`waitid` doesn't work on another's child, so what tells the end is the pidfd, and how it ended is init's record.
"""

from __future__ import annotations

import socket
from pathlib import Path

from runtime.container.handshake import connect_socket, receive, send
from runtime.container.lifecycle import Container
from runtime.errors import ContainerError
from runtime.light_typing import Any

_ANSWER_WITHIN_S = 10.0


def adopt(init_socket: Path, exit_record: Path) -> Container:
    """The running container whose init listens at *init_socket*. From now on the caller reads its output.

    Raises ContainerError when it has ended: then *exit_record* says how (`lifecycle.read_exit`), or nobody could record it.
    """
    try:
        connection = connect_socket(init_socket)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise ContainerError(f"no container listens at `{init_socket}`: it has ended") from error
    try:
        connection.settimeout(_ANSWER_WITHIN_S)
        send(connection, {"adopt": True})
        message = receive(connection)
        if message is None:
            raise ContainerError(f"the container at `{init_socket}` ended while it was asked")
        connection.settimeout(None)
        return _container(connection, message[0], message[1], exit_record)
    except TimeoutError as error:
        connection.close()
        raise ContainerError(
            f"the init at `{init_socket}` does not answer", hint="it is stopped, or the machine is overloaded"
        ) from error
    except BaseException:
        connection.close()
        raise


def _container(connection: socket.socket, said: dict[str, Any], fds: list[int], exit_record: Path) -> Container:
    pidfd, stdout_fd, stderr_fd, *listener = fds
    return Container(
        container_id=said["adopted"],
        pid=_pid_of(pidfd),
        pidfd=pidfd,
        stdout_fd=stdout_fd,
        stderr_fd=stderr_fd,
        listener_fd=listener[0] if listener else None,
        listener_port=said["port"],
        control=connection,
        exit_record=exit_record,
        gpus=said.get("gpus"),
    )


def _pid_of(pidfd: int) -> int:
    """The process's number as *we* see it (proc_pid_fdinfo(5)); -1 when it has ended."""
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "Pid":
            return int(value)
    return -1
