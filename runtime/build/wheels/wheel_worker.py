"""Wheels in a process of their own, while the base is being made: fetch, lay out, wait for an interpreter, compile, publish.

The store carries the result: the parent finds the layers there. What crosses the pipes is small: the base's layers one way,
events and the failure the other. A process and not a thread, since both sides fork containers, and that wants a process with one
thread.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from runtime import errors
from runtime.build.cache_key import step_key
from runtime.build.observer import BuildObserver, NullObserver
from runtime.build.plan import InstallWheel, MakeVenv
from runtime.build.sources import WheelSource
from runtime.errors import BuildError, RuntimeFailure
from runtime.light_dataclasses import dataclass
from runtime.store.failures import disk_errors
from runtime.store.records import Layer, layer_rows, layers_from_rows
from runtime.store.store import Store
from runtime.whole_file import write_all

_END_S = 10.0
_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class WheelWorker:
    """The other process. Made by `start_worker`; ends with `join` or `stop`."""

    pid: int
    base_fd: int
    events_fd: int
    told: bool = False
    _rest: bytes = b""
    _result: dict[str, Any] | None = None

    def base_ready(self, base: Sequence[Layer], venv: Layer) -> None:
        """The interpreter is there: *base* (bottom first) holds it, *venv* is the environment's layer."""
        self.told = True
        try:
            write_all(self.base_fd, json.dumps(layer_rows([*base, venv])).encode())
        except BrokenPipeError:
            return  # it failed already; `join` tells why
        finally:
            os.close(self.base_fd)
            self.base_fd = -1

    def pass_on(self, observer: BuildObserver) -> None:
        """Tell *observer* what has come so far, without waiting."""
        os.set_blocking(self.events_fd, False)
        try:
            while self._result is None and (piece := os.read(self.events_fd, 1 << 16)):
                self._take(piece, observer)
        except BlockingIOError:
            return
        finally:
            os.set_blocking(self.events_fd, True)

    def join(self, observer: BuildObserver) -> float:
        """Wait for the end, passing events on. Returns the seconds that it took; raises what failed there."""
        while self._result is None and (piece := os.read(self.events_fd, 1 << 16)):
            self._take(piece, observer)
        os.waitpid(self.pid, 0)
        self.pid = 0
        self._close()
        if self._result is None:
            raise BuildError("the process that installs wheels was killed", hint="the machine may be out of memory")
        if self._result["event"] == "failed":
            raise _failure(self._result)
        return float(self._result["seconds"])

    def _take(self, piece: bytes, observer: BuildObserver) -> None:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            event = json.loads(line)
            if event["event"] in ("done", "failed"):
                self._result = event
            else:
                _tell(observer, event)

    def stop(self) -> None:
        """End it, whatever it is doing. Idempotent."""
        if self.pid == 0:
            return
        try:
            # As Ctrl-C does: containers and staging directories are taken down on the way.
            os.kill(self.pid, signal.SIGINT)
            deadline = time.monotonic() + _END_S
            while os.waitpid(self.pid, os.WNOHANG) == (0, 0):
                if time.monotonic() > deadline:
                    os.kill(self.pid, signal.SIGKILL)
                    os.waitpid(self.pid, 0)
                    break
                time.sleep(0.01)
        except (ProcessLookupError, ChildProcessError):
            self.pid = 0
        self.pid = 0
        self._close()

    def _close(self) -> None:
        for descriptor in (self.base_fd, self.events_fd):
            if descriptor >= 0:
                os.close(descriptor)
        self.base_fd = self.events_fd = -1


def start_worker(steps: Sequence[InstallWheel], *, venv: MakeVenv, store: Store, source: WheelSource) -> WheelWorker:
    """Begin with *steps*, for *venv*, in a forked process. To be called while this process has one thread."""
    base_read, base_write = os.pipe2(os.O_CLOEXEC)
    events_read, events_write = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(base_write)
        os.close(events_read)
        _work(steps, venv, store, source, base_read, events_write, parent)
    os.close(base_read)
    os.close(events_write)
    return WheelWorker(pid, base_write, events_read)


def _work(
    steps: Sequence[InstallWheel],
    venv: MakeVenv,
    store: Store,
    source: WheelSource,
    base_fd: int,
    events_fd: int,
    parent: int,
) -> NoReturn:
    """The other process, from fork to _exit: nothing of the parent's clean-up may run here."""
    # An own process group: Ctrl-C reaches the parent, which ends us by one SIGINT instead of two.
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    started = time.monotonic()
    code = 1
    try:
        _end_with(parent)
        with disk_errors(store.root, "cannot install wheels"):
            _install(steps, venv, store, source, base_fd, _PipeObserver(events_fd))
        _send(events_fd, {"event": "done", "seconds": time.monotonic() - started})
        code = 0
    except RuntimeFailure as error:
        _send(events_fd, {"event": "failed", "kind": type(error).__name__, "message": error.message, "hint": error.hint})
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        import traceback

        _send(events_fd, {"event": "failed", "kind": "bug", "message": traceback.format_exc(), "hint": None})
    finally:
        os._exit(code)


def _end_with(parent: int) -> None:
    """Be interrupted when the parent dies, however it dies: nobody needs the wheels then, and others wait for our locks."""
    from runtime.kernel import libc

    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != parent:
        raise KeyboardInterrupt


def _install(
    steps: Sequence[InstallWheel], venv: MakeVenv, store: Store, source: WheelSource, base_fd: int, observer: _PipeObserver
) -> None:
    from runtime.build.wheels.apply_install_wheel import prepare_wheels

    with store.lock(step_key(step, None) for step in steps):
        missing = [step for step in steps if store.find(step_key(step, None)) is None]
        if not missing:
            return
        with prepare_wheels(missing, store=store, source=source, observer=observer) as prepared:
            message = _read_all(base_fd)
            if not message:
                return  # the base failed, or its builder died: nobody waits for us
            *base, made = layers_from_rows(json.loads(message))
            prepared.install(base, made, venv)


class _PipeObserver(NullObserver):
    """An observer that writes to the parent, who reads between its own steps: what doesn't fit into the pipe is left out."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def download(self, label: str, done_bytes: int, total_bytes: int | None) -> None:
        self._try({"event": "download", "label": label[:200], "done": done_bytes, "total": total_bytes})

    def message(self, text: str) -> None:
        self._try({"event": "message", "text": text[:500]})

    def _try(self, event: dict[str, Any]) -> None:
        # Up to PIPE_BUF (4096) bytes are written whole or not at all (pipe(7)).
        os.set_blocking(self._descriptor, False)
        try:
            os.write(self._descriptor, json.dumps(event).encode() + b"\n")
        except (BlockingIOError, BrokenPipeError):
            return
        finally:
            os.set_blocking(self._descriptor, True)


def _tell(observer: BuildObserver, event: dict[str, Any]) -> None:
    if event["event"] == "download":
        observer.download(event["label"], event["done"], event["total"])
    elif event["event"] == "message":
        observer.message(event["text"])


def _failure(result: dict[str, Any]) -> Exception:
    kind = getattr(errors, result["kind"], None)
    if result["kind"] == "ToolFailed" or not (isinstance(kind, type) and issubclass(kind, RuntimeFailure)):
        if result["kind"] == "bug":
            return RuntimeError(f"in the process that installs wheels:\n{result['message']}")
        kind = BuildError
    failure: Exception = kind(result["message"], hint=result["hint"])
    return failure


def _send(descriptor: int, event: dict[str, Any]) -> None:
    try:
        write_all(descriptor, json.dumps(event).encode() + b"\n")
    except BrokenPipeError:
        return


def _read_all(descriptor: int) -> bytes:
    pieces = []
    while piece := os.read(descriptor, 1 << 16):
        pieces.append(piece)
    return b"".join(pieces)
