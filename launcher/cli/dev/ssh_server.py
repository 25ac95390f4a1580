"""`launch ssh-proxy HOST`: an SSH server for one client, on our stdin and stdout, whose sessions are programs of a container.

It runs outside: the container needs no server, no network and no second id. A session is what `launch exec` starts, `sftp` is
served by a child of the container's init, and a forwarded port is a connection that such a child makes and hands out.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path

import asyncssh

from launcher.cli.dev.ssh_access import SUFFIX, host_key
from launcher.cli.dev.ssh_channels import ForwardedConnection, ProgramSession
from launcher.run.dev_containers import container_called
from runtime.container.exec_inside import connect_inside
from runtime.errors import ContainerError
from runtime.kernel.processes import login_name
from runtime.state_dir import state_dir
from runtime.whole_file import write_all

_CHUNK = 1 << 16
_LAST_WORDS_S = 2.0
"""For a client that doesn't read them."""


def serve_ssh(host: str) -> int:
    """Until the client goes. Raises ConfigError where *host* is no container to work in."""
    state = state_dir()
    record = container_called(host.lower().removesuffix(SUFFIX), state)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at the client's terminal is for the program inside
    ours, theirs = socket.socketpair()
    threading.Thread(target=_carry_in, args=(ours,), daemon=True).start()
    carrying_out = threading.Thread(target=_carry_out, args=(ours,), daemon=True)
    carrying_out.start()
    asyncio.run(_serve(theirs, host_key(state), record.run_dir.init_socket))
    carrying_out.join(_LAST_WORDS_S)
    return 0


async def _serve(end: socket.socket, key: Path, init_socket: Path) -> None:
    with suppress(asyncssh.Error, OSError):  # the client has gone, or is none: it knows
        connection = await asyncssh.run_server(
            end,
            server_factory=lambda: _Server(init_socket),
            server_host_keys=[str(key)],
            encoding=None,
            line_editor=False,
            agent_forwarding=False,
            gss_host=None,
        )
        await connection.wait_closed()


class _Server(asyncssh.SSHServer):
    """What a client may ask for."""

    def __init__(self, init_socket: Path) -> None:
        self._init_socket = init_socket
        self._user: str | None = None

    def begin_auth(self, username: str) -> bool:
        """Whether it has to show who it is: no. A client that was told no user gives its own, who is nobody in the container:
        that is the program's user."""
        self._user = None if username == login_name() else username
        return False

    def session_requested(self) -> ProgramSession:
        return ProgramSession(self._init_socket, self._user)

    async def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> ForwardedConnection:
        numbers = ("127.0.0.1", "::1") if dest_host in ("localhost", "") else (dest_host,)
        try:
            return await self._connect(*((str(ipaddress.ip_address(number)), dest_port) for number in numbers))
        except ValueError:
            words = f"names of the container's network are not looked up: its number in the place of `{dest_host}`"
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, words) from None

    async def unix_connection_requested(self, dest_path: str) -> ForwardedConnection:
        return await self._connect(dest_path)

    async def _connect(self, *addresses: str | tuple[str, int]) -> ForwardedConnection:
        refused: ContainerError | None = None
        for address in addresses:
            try:
                return ForwardedConnection(await asyncio.to_thread(connect_inside, self._init_socket, address))
            except ContainerError as error:
                refused = refused or error
        raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "" if refused is None else refused.message)


def _carry_in(ours: socket.socket) -> None:
    """From our stdin to the server. Its end is the client's."""
    with suppress(OSError):
        while chunk := os.read(0, _CHUNK):
            ours.sendall(chunk)
        ours.shutdown(socket.SHUT_WR)


def _carry_out(ours: socket.socket) -> None:
    with suppress(OSError):
        while chunk := ours.recv(_CHUNK):
            write_all(1, chunk)
