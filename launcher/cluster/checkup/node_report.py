"""On a node: does it see LAUNCH_HOME and its locks, and can it run containers?"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from runtime.errors import RuntimeFailure
from runtime.file_lock import is_locked
from runtime.host.finding import Finding, good, off, to_documents
from runtime.host.report import check
from runtime.store.scratch import scratch_directory

CHECKS = (
    "kernel",
    "userns",
    "apparmor",
    "newuidmap",
    "subids",
    "overlay-userns",
    "proc",
    "seccomp",
    "cgroup-memory",
    "cgroup-cpu",
    "gpus",
)
"""Checks of `runtime.host.report` that make sense on a node; LAUNCH_HOME's file system is judged where it was asked for."""


def node_report(home: str, token: str, scratch: str | None) -> str:
    os.environ["LAUNCH_HOME"] = home
    document: dict[str, Any] = {
        "host": socket.gethostname(),
        "node": os.environ.get("SLURMD_NODENAME"),
        "clock": time.time(),
        "python": sys.version.split()[0],
        "sees_home": os.path.exists(token),
        "sees_lock": _sees_lock(Path(token)),
        "may_write": os.access(home, os.W_OK),
        "checks": to_documents({**{name: check(name) for name in CHECKS}, "scratch": _scratch(scratch)}),
    }
    return json.dumps(document)


def _sees_lock(token: Path) -> bool | None:
    try:
        return is_locked(token)
    except OSError:
        return None


def _scratch(named: str | None) -> Finding:
    try:
        return good(f"writable layers can lie in `{scratch_directory(os.environ, named=named)}`")
    except RuntimeFailure as failure:
        return off(failure.message, advice=failure.hint or "")
