"""A process that looks at GPUs for somebody else: readings in an interval and Xid errors at once, one JSON object a line.

    {"at": 1795523995.1, "loads": [{…}, …]}      `load.GpuLoad`, in the order of the PCI bus, which is CUDA's inside
    {"at": 1795523995.1, "xid": 79, "uuid": "GPU-…"}
    {"error": "…", "hint": "…"}                  NVML does not come up; nothing follows
    {"denied": "/dev/nvidiactl"}                 a device node can't be opened any more

A sick GPU can hang a call of NVML for minutes in the kernel, and NVML makes no promise about fork: so it is opened in here, and
whoever reads the lines never waits for them. Two threads: one reads, one waits for Xids.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from runtime.errors import GpuError
from runtime.gpu.amd import AmdLoadReader, are_amd_gpus
from runtime.gpu.gpu import GpuLoad
from runtime.gpu.nvidia.load_reader import LoadReader
from runtime.gpu.nvidia.xid import XidEvents
from runtime.gpu.roots import Roots
from runtime.kernel import processes
from runtime.whole_file import write_all

_EVENT_WAIT_MS = 60_000
_EVENT_RETRY_S = 5.0
_LISTENING_S = 1.0
_FATAL = (1, 3, 9, 13, 18)
"""Uninitialised, not supported, no driver, no such function, a driver of another version: waiting for events makes no sense."""


def start(uuids: Sequence[str], *, interval_s: float, roots: Roots | None = None) -> tuple[int, int, int]:
    """Fork the watcher of *uuids* from a process with one thread. It dies with its parent.

    Returns its pid, the end to read lines from (non-blocking), and the end whose closing lets it take a last reading and leave.
    """
    lines, tell = os.pipe2(os.O_CLOEXEC)
    wake, end = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    watched = tuple(uuids), interval_s, roots or Roots.of_this_machine()
    pid = processes.run_in_child(lambda: _watch(*watched, tell=tell, wake=wake, parent=parent), failed=0)
    os.close(tell)
    os.close(wake)
    os.set_blocking(lines, False)
    return pid, lines, end


def _watch(uuids: tuple[str, ...], interval_s: float, roots: Roots, *, tell: int, wake: int, parent: int) -> None:
    processes.reset_signals()
    # Ctrl-C goes to everybody at the terminal; the last reading is taken when the supervisor says so.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    processes.close_fds(keep=(tell, wake))
    processes.rename("launch-gpus")
    processes.end_with(parent)
    _Watcher(uuids, interval_s, roots, tell=tell, wake=wake).run()


class Reader(Protocol):
    """Reads the GPUs of one vendor."""

    def read(self) -> tuple[GpuLoad, ...]: ...


class _Watcher:
    def __init__(self, uuids: tuple[str, ...], interval_s: float, roots: Roots, *, tell: int, wake: int) -> None:
        self._uuids = uuids
        self._interval_s = interval_s
        self._roots = roots
        self._tell_fd = tell
        self._wake = wake
        self._telling = threading.Lock()
        self._listening = threading.Event()
        """From now on no Xid is missed."""

    def run(self) -> None:
        if are_amd_gpus(self._uuids, self._roots):
            self._read_until_woken(AmdLoadReader(self._roots, self._uuids))
            return
        from runtime.gpu.nvidia import nvml

        try:
            with nvml.open_nvml(self._roots) as module:
                threading.Thread(target=self._wait_for_xids, args=(module,), daemon=True).start()
                self._listening.wait(_LISTENING_S)
                self._read_until_woken(LoadReader(module, self._uuids))
                os._exit(0)  # not through nvmlShutdown: the other thread is inside, and the kernel closes what is open
        except GpuError as error:
            self._tell_of_denied()
            self._tell({"error": error.message, "hint": error.hint})

    def _read_until_woken(self, reader: Reader) -> None:
        self._read(reader)
        due = time.monotonic() + self._interval_s
        while not select.select([self._wake], [], [], max(0.0, due - time.monotonic()))[0]:
            self._read(reader)
            due = max(due + self._interval_s, time.monotonic())
        self._read(reader)

    def _read(self, reader: Reader) -> None:
        at = round(time.time(), 3)
        loads = reader.read()
        if any(_looks_denied(load) for load in loads):
            self._tell_of_denied()
        self._tell({"at": at, "loads": [load.to_json() for load in loads]})

    def _wait_for_xids(self, nvml: Any) -> None:
        while True:
            try:
                events = XidEvents(nvml, self._uuids)
                self._listening.set()
                while events:
                    for uuid, xid in events.wait(_EVENT_WAIT_MS):
                        self._tell({"at": round(time.time(), 3), "xid": xid, "uuid": uuid})
                return
            except nvml.NVMLError as error:
                if int(error.value) in _FATAL:
                    return
            except (nvml.NVMLLibraryMismatchError, AttributeError):
                return
            time.sleep(_EVENT_RETRY_S)

    def _tell_of_denied(self) -> None:
        node = denied_node(self._roots)
        if node is not None:
            self._tell({"denied": str(node)})

    def _tell(self, document: dict[str, Any]) -> None:
        with self._telling:
            write_all(self._tell_fd, json.dumps(document, separators=(",", ":")).encode() + b"\n")


def denied_node(roots: Roots) -> Path | None:
    """A control node that the kernel doesn't let this process open: with EPERM it is a device cgroup that says no, not a mode."""
    for name in ("nvidiactl", "nvidia-uvm"):
        node = roots.dev / "dev" / name
        try:
            os.close(os.open(node, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
        except OSError as error:
            if error.errno == errno.EPERM:
                return node
    return None


def _looks_denied(load: GpuLoad) -> bool:
    """NVML's words for both: `Unknown Error` when it finds no way in, `Insufficient Permissions` for a single GPU."""
    return load.missing.get("device") in ("Unknown Error", "Insufficient Permissions")
