"""`create [--bundle DIR] ID`."""

from __future__ import annotations

import os
from pathlib import Path

from runtime.oci_runtime.creation import Wanted, create
from runtime.oci_runtime.main import Context, one_id
from runtime.oci_runtime.options import Option, Parsed

SYNOPSIS = "[OPTIONS] ID"
OPTIONS = (
    Option("bundle", "b", True, "the bundle's directory; default: the working directory"),
    Option("config", "f", True, "the configuration in it; default: config.json"),
    Option("pid-file", "", True, "file that gets the number of the container's process"),
    Option("console-socket", "", True, "socket that gets the terminal"),
    Option("preserve-fds", "", True, "so many descriptors from 3 on stay open in the program"),
    Option("no-pivot", "", False, "chroot instead of pivot_root"),
    Option("no-new-keyring", "", False, "keep the caller's session keyring"),
    Option("no-subreaper", "", False, "taken and not used"),
)


def run(given: Parsed, context: Context) -> int:
    create(wanted(given, context), context.diagnostics)
    return 0


def wanted(given: Parsed, context: Context) -> Wanted:
    """What the options ask for; `run` has them, too."""
    pid_file, console = given.value("pid-file"), given.value("console-socket")
    activated = os.environ.get("LISTEN_FDS", "")
    return Wanted(
        container_id=one_id(given),
        root=context.root,
        bundle=Path(given.value("bundle") or "."),
        config_file=given.value("config") or "config.json",
        pid_file=Path(pid_file).absolute() if pid_file else None,
        console_socket=Path(console).absolute() if console else None,
        # Sockets of systemd come first (sd_listen_fds(3)); in the container PID 1 is who they are for.
        preserved=given.number("preserve-fds") + (int(activated) if activated.isdigit() else 0),
        extra_env=(("LISTEN_FDS", activated), ("LISTEN_PID", "1")) if activated.isdigit() else (),
        keyring=not given.flag("no-new-keyring"),
        pivot=not given.flag("no-pivot"),
        cgroups=context.cgroups,
        systemd_cgroup=context.systemd_cgroup,
    )
