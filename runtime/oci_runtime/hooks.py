"""Programs that a bundle wants run at points of a container's life (runtime-spec, config.md, "POSIX-platform Hooks")."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence

from runtime.errors import ContainerError
from runtime.kernel import processes
from runtime.light_typing import Any, NoReturn
from runtime.oci.runtime_config import Hook


def run_hooks(hooks: Sequence[Hook], kind: str, state: Mapping[str, Any], *, cwd: str | None = None) -> None:
    """Run *hooks* in turn, each with *state* on its stdin. Raises ContainerError when one fails: the rest don't run."""
    for failure in failures_of_hooks(hooks, kind, state, cwd=cwd):
        raise ContainerError(failure)


def failures_of_hooks(hooks: Sequence[Hook], kind: str, state: Mapping[str, Any], *, cwd: str | None = None) -> Iterator[str]:
    """Run *hooks* one by one as this is read; one sentence for each that fails."""
    document = json.dumps(state).encode()
    for hook in hooks:
        failure = _run(hook, document, cwd)
        if failure is not None:
            yield f"the {kind} hook `{hook.path}` {failure}"


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
        in_time = processes.wait_ended(pidfd, timeout_s=timeout_s)
        os.close(pidfd)
        if not in_time:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return f"ran longer than its {timeout_s} s"
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == 0:
        return None
    return f"exited with {code}" if code > 0 else f"was killed by signal {-code}"
