"""Ask systemd for a cgroup of our own: a transient scope with `Delegate=yes` that holds the calling process.

One method call, `StartTransientUnit` (org.freedesktop.systemd1(5)), over the manager's private socket: of the system's manager
for root, of the user's own otherwise. Only as much of the D-Bus wire format (D-Bus Specification, "Message Protocol") as this
call needs, and no library: engines start the OCI runtime without site-packages (docs/guides/oci-runtime.md), and podman wants
systemd's cgroups from it. The scope ends by itself with its last process.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path

from runtime.cgroup.hierarchies import hierarchies, own_hierarchies

_ANSWER_WITHIN_S = 5.0

_MANAGER = "org.freedesktop.systemd1"

Value = str | int | bool | tuple[int, ...]
Property = tuple[str, str, Value]
"""Name, D-Bus type and value of a property of a unit."""


class _Writer:
    """Appends D-Bus values to a buffer, each aligned to its size (little-endian)."""

    def __init__(self) -> None:
        self.data = bytearray()

    def align(self, boundary: int) -> None:
        self.data += bytes(-len(self.data) % boundary)

    def uint32(self, value: int) -> None:
        self.align(4)
        self.data += struct.pack("<I", value)

    def uint64(self, value: int) -> None:
        self.align(8)
        self.data += struct.pack("<Q", value)

    def string(self, value: str) -> None:
        encoded = value.encode()
        self.uint32(len(encoded))
        self.data += encoded + b"\0"

    def signature(self, value: str) -> None:
        self.data += bytes([len(value)]) + value.encode() + b"\0"

    def variant(self, kind: str, value: Value) -> None:
        self.signature(kind)
        if isinstance(value, str):
            self.signature(value) if kind == "g" else self.string(value)
        elif isinstance(value, tuple):
            self.uint32(4 * len(value))
            for one in value:
                self.uint32(one)
        elif kind == "t":
            self.uint64(value)
        else:
            self.uint32(int(value))

    def array_of_structs(self, properties: Sequence[Property]) -> None:
        """a(sv): the length counts from the first struct, after its alignment."""
        self.uint32(0)
        length_at = len(self.data) - 4
        self.align(8)
        start = len(self.data)
        for name, kind, value in properties:
            self.align(8)
            self.string(name)
            self.variant(kind, value)
        struct.pack_into("<I", self.data, length_at, len(self.data) - start)


def start_transient_unit(unit: str, properties: Sequence[Property]) -> bytes:
    """The message: header, then (name, mode "fail", properties, no auxiliary units)."""
    body = _Writer()
    body.string(unit)
    body.string("fail")
    body.array_of_structs(properties)
    body.array_of_structs([])
    header = _Writer()
    header.data += b"l\x01\x00\x01"  # little-endian, method call, no flags, protocol 1
    header.uint32(len(body.data))
    header.uint32(1)  # serial
    header.uint32(0)
    length_at = len(header.data) - 4
    start = len(header.data)
    fields = (
        (1, "o", "/org/freedesktop/systemd1"),
        (2, "s", f"{_MANAGER}.Manager"),
        (3, "s", "StartTransientUnit"),
        (6, "s", _MANAGER),
        (8, "g", "ssa(sv)a(sa(sv))"),
    )
    for number, kind, value in fields:
        header.align(8)
        header.data.append(number)
        header.variant(kind, value)
    struct.pack_into("<I", header.data, length_at, len(header.data) - start)
    header.align(8)
    return bytes(header.data + body.data)


def _private_socket() -> Path | None:
    """Where the manager listens that may make units for this user; None without systemd."""
    if not Path("/run/systemd/system").is_dir():
        return None  # sd_booted(3)
    if os.geteuid() == 0:
        return Path("/run/systemd/private")
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    return Path(runtime_dir, "systemd", "private")


def _exactly(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        chunk = connection.recv(size - len(received))
        if not chunk:
            raise ConnectionError("systemd closed the connection")
        received += chunk
    return bytes(received)


def _call(path: Path, message: bytes) -> bool:
    """Authenticate by our uid, send *message* (serial 1) and wait for its answer. True: it was a return, not an error."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(_ANSWER_WITHIN_S)
        connection.connect(os.fspath(path))
        connection.sendall(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
        line = b""
        while not line.endswith(b"\r\n"):
            line += _exactly(connection, 1)
        if not line.startswith(b"OK "):
            return False
        connection.sendall(b"BEGIN\r\n" + message)
        while True:
            fixed = _exactly(connection, 16)
            body_size, _, fields_size = struct.unpack_from("<III", fixed, 4)
            _exactly(connection, (fields_size + 7) // 8 * 8 + body_size)
            if fixed[1] in (2, 3):  # method return, error; the only call on this connection is ours. 4 would be a signal
                return fixed[1] == 2


def own_slice(unified: Path, uid: int) -> str | None:
    """The slice to stay in, so that its limits go on to hold: the innermost around us. A user's own manager knows those below
    `user@UID.service` only; None is its default."""
    manager = f"user@{uid}.service"
    parts = unified.parts
    if uid != 0:
        parts = parts[parts.index(manager) + 1 :] if manager in parts else ()
    return next((part for part in reversed(parts) if part.endswith(".slice")), None)


def move_into_delegated_scope() -> Path | None:
    """Put this process into a new scope that is delegated to us. Returns its directory; None where systemd can't or won't.

    The process keeps its session and its terminal, as with `systemd-run --scope`.
    """
    before = own_hierarchies().unified
    if before is None:
        return None
    properties: list[Property] = [
        ("TasksMax", "t", 2**64 - 1)
    ]  # infinity: the default for scopes would come before our own limit
    if (slice_ := own_slice(before, os.geteuid())) is not None:
        properties.append(("Slice", "s", slice_))
    return _start(f"launch-{os.getpid()}-{time.monotonic_ns():x}.scope", os.getpid(), properties)


def start_scope(unit: str, pid: int, properties: Sequence[Property]) -> Path | None:
    """Put process *pid* into a new delegated scope *unit* with more *properties*. Returns its directory; None where systemd can't
    or won't, and where the v2 hierarchy isn't the only one."""
    own = own_hierarchies()
    return _start(unit, pid, properties) if own.unified is not None and not own.legacy else None


def _start(unit: str, pid: int, properties: Sequence[Property]) -> Path | None:
    private = _private_socket()
    if private is None:
        return None
    always: list[Property] = [
        ("Description", "s", "launch"),
        ("PIDs", "au", (pid,)),
        ("Delegate", "b", True),
        ("CollectMode", "s", "inactive-or-failed"),
    ]
    try:
        if not _call(private, start_transient_unit(unit, [*always, *properties])):
            return None
    except OSError:
        # No manager for this user (a service, a cron job), or one that doesn't answer: the caller has other ways.
        return None
    deadline = time.monotonic() + _ANSWER_WITHIN_S
    while time.monotonic() < deadline:  # the answer names a job; the move is done when the job is
        now = hierarchies(Path("/proc/self/mountinfo").read_text(), Path(f"/proc/{pid}/cgroup").read_text()).unified
        if now is not None and now.name == unit:
            return now
        time.sleep(0.002)
    return None
