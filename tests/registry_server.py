"""Debian's `docker-registry` on loopback, and a wire in front of it that counts, records and breaks."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_CONFIGURATION = """\
version: 0.1
log: {{level: info, accesslog: {{disabled: false}}}}
storage:
  filesystem: {{rootdirectory: {data}}}
  delete: {{enabled: true}}
http: {{addr: '{address}'}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class RegistryServer:
    """A registry that can be stopped and started again at its address."""

    directory: Path
    login: tuple[str, str] | None = None
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    disk_bytes: int | None = None
    """The registry gets a file system of its own with so much room (root only); nobody else sees its files."""
    auth: str = ""
    """YAML below `auth:`, for another way in than a password."""

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def start(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        text = _CONFIGURATION.format(data=self.data, address=self.address)
        if self.login is not None:
            text += f"auth:\n  htpasswd: {{realm: test, path: {self._passwords()}}}\n"
        elif self.auth:
            text += f"auth:\n  {self.auth}\n"
        (self.directory / "config.yml").write_text(text)
        with (self.directory / "log").open("ab") as log:
            argv = ["docker-registry", "serve", str(self.directory / "config.yml")]
            if self.disk_bytes is not None:
                script = f'mount -t tmpfs -o size={self.disk_bytes} tmpfs "$0" && exec "$@"'
                argv = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, str(self.data), *argv]
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while not self._answers():
            came_up = self.process.poll() is None and time.monotonic() < deadline
            assert came_up, f"the registry doesn't come up:\n{self.log}"
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stored_bytes(self) -> int:
        """What lies in the registry's files."""
        return sum(path.stat().st_size for path in self.data.rglob("*") if path.is_file())

    def _passwords(self) -> Path:
        assert self.login is not None
        user, password = self.login
        done = subprocess.run(["htpasswd", "-Bbn", user, password], capture_output=True, check=True)
        file = self.directory / "htpasswd"
        file.write_bytes(done.stdout)
        return file

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/v2/", timeout=5):
                return True
        except urllib.error.HTTPError as error:
            return error.code == 401
        except OSError:
            return False


@contextmanager
def registry_server(
    directory: Path, *, login: tuple[str, str] | None = None, disk_bytes: int | None = None
) -> Iterator[RegistryServer]:
    """A registry for the body, with its files below *directory*; with *login* it asks for that user and password."""
    server = RegistryServer(directory, login, disk_bytes=disk_bytes)
    server.start()
    try:
        yield server
    finally:
        server.stop()


_REQUEST_LINE = re.compile(rb"^(GET|HEAD|POST|PUT|PATCH|DELETE) (\S+) HTTP/1\.1\r$", re.MULTILINE)
_RESET = b"\1\0\0\0\0\0\0\0"  # struct linger {1, 0}: close with RST


class Wire:
    """Forwards connections to a port of loopback. What it is told is looked at while bytes flow."""

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.sent_bytes = 0
        """By clients, headers included."""
        self.requests: list[str] = []
        """`PUT /v2/…` without queries."""
        self.cuts: list[int] = []
        """The connection over which this many bytes (`sent_bytes`) are reached is reset; ascending."""
        self.largest_request: int | None = None
        """A request with more bytes gets 413 and a closed connection, as from nginx."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def count(self, method: str, part: str = "") -> int:
        """Requests of *method* whose path has *part*."""
        return sum(request.startswith(f"{method} ") and part in request for request in self.requests)

    def reset(self) -> None:
        """Begin to count anew."""
        self.sent_bytes = 0
        self.requests.clear()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self.upstream))
        except OSError:
            client.close()
            return
        answered = threading.Event()
        threading.Thread(target=self._answers, args=(server, client, answered), daemon=True).start()
        in_request = 0
        with suppress(OSError):
            while data := client.recv(1 << 16):
                if answered.is_set():
                    answered.clear()
                    in_request = 0
                in_request += len(data)
                if self._is_cut(data):
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    break
                if self.largest_request is not None and in_request > self.largest_request:
                    _refuse_as_nginx(client)
                    break
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
        client.close()

    def _is_cut(self, data: bytes) -> bool:
        with self._lock:
            self.sent_bytes += len(data)
            self.requests += [f"{m[1].decode()} {m[2].decode().partition('?')[0]}" for m in _REQUEST_LINE.finditer(data)]
            if self.cuts and self.sent_bytes >= self.cuts[0]:
                del self.cuts[0]
                return True
        return False

    def _answers(self, server: socket.socket, client: socket.socket, answered: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                answered.set()
                client.sendall(data)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


def _refuse_as_nginx(client: socket.socket) -> None:
    """Answer while the body is still coming in, and read on until the client has seen it."""
    client.sendall(b"HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    client.shutdown(socket.SHUT_WR)
    client.settimeout(2)
    while client.recv(1 << 16):
        pass


@contextmanager
def wire_to(port: int) -> Iterator[Wire]:
    """A wire in front of a server of this machine, for the body."""
    wire = Wire(port)
    try:
        yield wire
    finally:
        wire.close()


def left_in(directory: Path) -> list[str]:
    """Files in *directory*, and those without a name that this process still has open there."""
    left = [path.name for path in directory.iterdir() if not path.name.startswith(".")]
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{descriptor}")
            left += [target] if target.startswith(f"{directory}/") and target.endswith("(deleted)") else []
    return left
