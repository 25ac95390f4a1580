"""`launch notebook`: JupyterLab in a container to work in, on the project's own files, at an address of our loopback.

The server listens on a socket file in the container, whatever network that has. Its token goes in as a variable, which other
users of the machine can't read.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import webbrowser
from contextlib import suppress
from functools import partial
from pathlib import Path

from launcher.cli import render
from launcher.cli.command import Options
from launcher.cli.dev.forwarding import forwarded
from launcher.cli.runs.relay import Relayed
from launcher.cli.runs.shell import run_inside
from launcher.errors import ConfigError
from launcher.plan.program.dev_container import CODE
from launcher.tracking.record.run_record import RunRecord
from runtime.container.exec_inside import connect_inside
from runtime.container.program import NOT_FOUND

REQUIREMENT = "jupyterlab"


def serve_notebook(record: RunRecord, options: Options) -> Relayed:
    """Have JupyterLab run in the container *record* until Ctrl-C; says where it is."""
    token = secrets.token_hex(24)
    socket_file = f"/tmp/jupyter-{secrets.token_hex(4)}.sock"
    options.env = [*options.env, f"JUPYTER_TOKEN={token}"]
    with _listen(options.port) as listener:
        port = int(listener.getsockname()[1])
        connect = partial(connect_inside, record.run_dir.init_socket, socket_file)
        with forwarded({listener: connect}, when_up=lambda: _announce(port, token, options)):
            argv = _argv(record.run_dir.plan, socket_file)
            # Jupyter at Ctrl-C without a terminal may wait for ever: SIGTERM is what it hears at any time.
            done = run_inside(record, argv, options, with_stdin=False, on_terminal=False, interrupt_ends=True)
    if done.code == NOT_FOUND:
        render.say(f"this container has no JupyterLab: `launch notebook experiment={record.experiment}` makes one that has")
    return done


def _argv(plan: Path, socket_file: str) -> list[str]:
    code = json.loads(plan.read_bytes())["plan"]["spec"]["data"][CODE]["target"]
    return [
        *("jupyter", "lab", "--no-browser", "--allow-root", "--log-level=ERROR", "--LabApp.log_level=ERROR"),
        *(f"--ServerApp.sock={socket_file}", f"--ServerApp.root_dir={code}"),
        "--KernelManager.transport=ipc",  # with the host's network, ports of kernels would be everybody's to connect to
    ]


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        words = f"port {port} of this machine cannot be had: {os.strerror(error.errno or 0).lower()}"
        raise ConfigError(words, hint="without `--port` it is a free one") from error


def _announce(port: int, token: str, options: Options) -> None:
    address = f"http://127.0.0.1:{port}/lab?token={token}"
    render.say(f"JupyterLab: {address} (Ctrl-C ends it)")
    if not options.no_browser:
        with suppress(webbrowser.Error):
            webbrowser.open(address)
