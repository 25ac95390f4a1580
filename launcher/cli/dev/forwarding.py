"""Ports of our loopback for servers in a container, whose connections are made inside (`connect_inside`): that needs no network
there, and nobody's rights.

Who may use a port is for the server to say (a token, a key): every user of this machine can connect to it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from runtime.errors import ContainerError

_CHUNK = 1 << 16
_LOOK_S = 0.1

Connect = Callable[[], socket.socket]
"""A new connection to the server. Raises OSError or ContainerError while nobody listens there."""


@contextmanager
def forwarded(ways: Mapping[socket.socket, Connect], *, when_up: Callable[[], None] | None = None) -> Iterator[None]:
    """Have another process relay what comes to the listeners, which it takes over, and call *when_up* as soon as the first one's
    server listens."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.close(write_end)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
                signal.signal(number, signal.SIG_IGN)  # it ends when we do
            signal.set_wakeup_fd(-1)
            asyncio.run(_serve(ways, read_end, when_up))
        finally:
            os._exit(1)
    os.close(read_end)
    for listener in ways:
        listener.close()
    try:
        yield
    finally:
        os.close(write_end)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


async def _serve(ways: Mapping[socket.socket, Connect], until: int, when_up: Callable[[], None] | None) -> None:
    """Relay until the other end of the pipe *until* is closed, and end this process."""
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(until, over.set)
    held: list[object] = [await asyncio.start_server(_relay_to(connect), sock=listener) for listener, connect in ways.items()]
    if when_up is not None:
        held.append(asyncio.ensure_future(_announce(next(iter(ways.values())), when_up)))
    await over.wait()
    os._exit(0)  # `asyncio.run` would cancel what relays, of which Python 3.11 reports what has not begun


def _relay_to(connect: Connect) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ContainerError):
            far_reader, far_writer = await asyncio.open_connection(sock=await asyncio.to_thread(connect))
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
            return
        writer.close()

    return handle


async def _announce(connect: Connect, when_up: Callable[[], None]) -> None:
    while True:
        with suppress(OSError, ContainerError):
            (await asyncio.to_thread(connect)).close()
            when_up()
            return
        await asyncio.sleep(_LOOK_S)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
            return
    writer.close()
