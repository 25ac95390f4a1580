"""Programs that a bundle wants run at points of a container's life (runtime-spec, config.md, "POSIX-platform Hooks")."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Mapping, Sequence

from runtime.errors import ContainerError
from runtime.kernel import processes
from runtime.light_typing import Any, NoReturn
from runtime.oci.runtime_config import Hook


def run_hooks(hooks: Sequence[Hook], kind: str, state: Mapping[str, Any], *, cwd: str | None = None) -> None:
    """Run *hooks* in turn, each with *state* on its stdin. Raises ContainerError when one fails: the rest don't run."""
    for hook in hooks:
        failure = _run(hook, json.dumps(state).encode(), cwd)
        if failure is not None:
            raise ContainerError(f"the {kind} hook `{hook.path}` {failure}")


def run_every_hook(hooks: Sequence[Hook], kind: str, state: Mapping[str, Any], *, cwd: str | None = None) -> list[str]:
    """Run all of *hooks* whatever becomes of them; what failed, one sentence each."""
    failed = []
    for hook in hooks:
        failure = _run(hook, json.dumps(state).encode(), cwd)
        if failure is not None:
            failed.append(f"the {kind} hook `{hook.path}` {failure}")
    return failed


def _run(hook: Hook, document: bytes, cwd: str | None) -> str | None:
    """None, or how it failed."""
    # A memory file and not a pipe: who doesn't read it doesn't stop us.
    stdin = os.memfd_create("state", os.MFD_CLOEXEC)
    try:
        os.write(stdin, document)
        os.lseek(stdin, 0, os.SEEK_SET)
        pid = processes.fork()
        if pid == 0:
            _exec_hook(hook, stdin, cwd)
        return _wait_for_end(pid, hook.timeout_s)
    finally:
        os.close(stdin)


def _exec_hook(hook: Hook, stdin: int, cwd: str | None) -> NoReturn:
    try:
        os.dup2(stdin, 0)
        processes.reset_signals()
        if cwd is not None:
            os.chdir(cwd)
        env = os.environ if hook.env is None else dict(one.partition("=")[::2] for one in hook.env)
        os.execve(hook.path, hook.args or (hook.path,), env)
    except OSError as error:
        os.write(2, f"error: cannot run the hook `{hook.path}`: {os.strerror(error.errno or 0).lower()}\n".encode())
    finally:
        os._exit(127)


def _wait_for_end(pid: int, timeout_s: int | None) -> str | None:
    if timeout_s is not None:
        pidfd = os.pidfd_open(pid)
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        deadline = time.monotonic() + timeout_s
        in_time = bool(poller.poll(max(0.0, deadline - time.monotonic()) * 1000))
        os.close(pidfd)
        if not in_time:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return f"ran longer than its {timeout_s} s"
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == 0:
        return None
    return f"exited with {code}" if code > 0 else f"was killed by signal {-code}"
