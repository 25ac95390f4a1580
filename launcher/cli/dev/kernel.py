"""A Jupyter of this machine whose cells run in a container to work in: the kernel spec (`launch dev --kernel`), and its program.

Jupyter has chosen five ports of loopback, and the key that messages are signed with. The kernel inside gets the key, and socket
files in the place of ports: so it needs no network, and meets nobody's ports where it has the machine's. We relay.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

from launcher.cli import render
from launcher.cli.dev.forwarding import Connect, forwarded
from launcher.cli.dev.ssh_access import own_command
from launcher.cli.runs.relay import relay
from launcher.errors import ConfigError
from launcher.run.dev_containers import container_called, name_of
from launcher.tracking.record.run_record import RunRecord
from runtime.container.exec_inside import ExecRequest, connect_inside, exec_inside
from runtime.state_dir import state_dir
from runtime.whole_file import replace_file

REQUIREMENT = "ipykernel"

_PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
"""Of a connection file (jupyter_client, "Making kernels for Jupyter")."""
_START = '(umask 077; cat > "$0") && exec python3 -m ipykernel_launcher -f "$0"'


def offer_kernel(record: RunRecord, *, quiet: bool) -> None:
    """Have Jupyter find a kernel in the container *record*, and say what it is called."""
    name = name_of(record, state_dir())
    directory = _jupyter_data() / "kernels" / f"launch-{name}"
    directory.mkdir(parents=True, exist_ok=True)
    argv = own_command(state_dir(), "kernel-proxy", name, "{connection_file}")
    spec = {"argv": argv, "display_name": f"{name} (launch)", "language": "python", "interrupt_mode": "message"}
    replace_file(directory / "kernel.json", json.dumps(spec, indent=1), mode=0o644)
    if not quiet:
        render.say(f"Jupyter and VS Code on this machine have the kernel `{name} (launch)`: {render.home_relative(directory)}")


def run_kernel(name: str, file: Path) -> int:
    """A kernel in the container *name* for the connection file *file*, to its end. Raises ConfigError."""
    return relay_kernel(container_called(name, state_dir()).run_dir.init_socket, file)


def relay_kernel(init_socket: Path, file: Path) -> int:
    """The same in the container whose init listens at *init_socket*."""
    wanted = _read_connection(file)
    place = f"/tmp/launch-kernel-{secrets.token_hex(8)}"
    with ExitStack() as held:
        # jupyter_client: the "port" N of a kernel on socket files is the file `IP-N`.
        ways: dict[socket.socket, Connect] = {}
        for number, port in enumerate(_PORTS, start=1):
            listener = held.enter_context(_listen(wanted["ip"], wanted[port]))
            ways[listener] = partial(connect_inside, init_socket, f"{place}-{number}")
        held.enter_context(forwarded(ways))
        program = held.enter_context(exec_inside(init_socket, ExecRequest(("/bin/sh", "-c", _START, f"{place}.json"))))
        inside = {**wanted, "transport": "ipc", "ip": place, **{port: number for number, port in enumerate(_PORTS, start=1)}}
        os.write(program.stdin, json.dumps(inside).encode())
        return relay(program, with_stdin=False, on_terminal=False, until=_end_of_jupyter()).code


def _end_of_jupyter() -> int | None:
    """Readable when the Jupyter that has started us is gone, killed maybe: nobody else could end its kernel. None where it hasn't
    said which process it is (JPY_PARENT_PID, as jupyter_client.launcher sets it)."""
    with suppress(ValueError, OSError):
        return os.pidfd_open(int(os.environ.get("JPY_PARENT_PID", "")))
    return None


def _jupyter_data() -> Path:
    """Where Jupyter looks for what is the user's own (jupyter_core.paths.jupyter_data_dir)."""
    if directory := os.environ.get("JUPYTER_DATA_DIR"):
        return Path(directory)
    return Path(os.environ.get("XDG_DATA_HOME") or Path("~/.local/share").expanduser()) / "jupyter"


def _read_connection(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
        if found["transport"] == "tcp" and all(isinstance(found[port], int) for port in _PORTS):
            return {**found, "ip": str(found["ip"])}
    except OSError as error:
        raise ConfigError(f"`{file}` cannot be read: {os.strerror(error.errno or 0).lower()}") from error
    except (ValueError, TypeError, KeyError):
        pass
    raise ConfigError(
        f"`{file}` is no connection file of Jupyter's with ports", hint="`launch dev --kernel` writes what starts this"
    )


def _listen(address: str, port: int) -> socket.socket:
    try:
        return socket.create_server((address, port))
    except OSError as error:
        raise ConfigError(f"port {port} of {address} cannot be had: {os.strerror(error.errno or 0).lower()}") from error
