"""Which warm helper fits this process: what a process inherits and cannot be told afterwards, and a socket's name made of it.

The command imports this before anything else of ours (`launcher/warm/client.py`): os and sys only, which Python has loaded.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed has no stub; `signal` takes 3 ms
import os
import sys

TYPE_CHECKING = False  # typing takes 10 ms, collections.abc 2
if TYPE_CHECKING:
    from collections.abc import Mapping

_STATUS = (
    *(b"Umask:", b"Uid:", b"Gid:", b"Groups:", b"SigIgn:"),
    *(b"CapInh:", b"CapPrm:", b"CapEff:", b"CapBnd:", b"CapAmb:", b"NoNewPrivs:", b"Seccomp:"),
    *(b"Cpus_allowed_list:", b"Mems_allowed_list:"),
)
"""Lines of /proc/PID/status, proc_pid_status(5)."""

_NICE, _REAL_TIME_PRIORITY, _SCHEDULING = 16, 37, 38
"""Fields 19, 40 and 41 of /proc/PID/stat, counted behind the name."""

_FILES = ("limits", "cgroup", "oom_score_adj", "personality", "loginuid", "sessionid", "attr/current")

_READ_AT_START = ("LD_", "LC_", "LANG", "MALLOC_", "GLIBC_")
"""Variables that the loader, libc and Python read when a process starts, by how they begin; `PYTHON…` is another matter."""

_TAKEN_OVER = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
"""Variables of Python's that a fork can still do as they say."""

_PRIME = 2**61 - 1


def may_be_warm() -> bool:
    """Whether a helper may do our commands: not where that is turned off, in a job of Slurm's, which ends with all that it
    started, with signals blocked when we were started, or with Python in a way of its own."""
    of_python = [name for name in os.environ if name.startswith("PYTHON") and os.environ[name] and name not in _TAKEN_OVER]
    blocked = _signal.pthread_sigmask(_signal.SIG_BLOCK, ())  # compared from outside, fork(3) would show: it blocks for a moment
    return not (os.environ.get("LAUNCH_WARM") == "0" or "SLURM_JOB_ID" in os.environ or of_python or blocked)


def helper_address(state: bytes) -> str:
    """The abstract address, unix(7), without its leading NUL, of the helper that fits us. *state*: our `inherited_state`."""
    variables = start_variables(dict(os.environ)).items()
    code = (sys.executable, __file__, *sys.path, *(f"{name}={value}" for name, value in variables))
    whole = b"\0".join([state, *map(os.fsencode, code)])
    return f"launch/{os.getuid()}/{int.from_bytes(whole, sys.byteorder) % _PRIME:016x}"


def start_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Of *environ* what was read when the process started, and will not be again."""
    return {name: value for name, value in environ.items() if name.startswith(_READ_AT_START)}


def inherited_state(process: int | str) -> bytes:
    """What *process* (a pid, or `self`) has from its parents, and what it runs: a helper serves only who has the same. Nobody is
    made equal: no capability taken, no limit set. Raises OSError when it has ended, is stopped, or is
    another user's."""
    directory = f"/proc/{process}/"
    parts = [line for line in _content(directory + "status").split(b"\n") if line.startswith(_STATUS)]
    fields = _content(directory + "stat").rpartition(b")")[2].split()
    if fields[0] in (b"T", b"t"):
        raise OSError(f"process {process} is stopped")
    parts += (fields[_NICE], fields[_REAL_TIME_PRIORITY], fields[_SCHEDULING])
    parts += (_content_if_there(directory + name) for name in _FILES)
    parts += (os.fsencode(os.readlink(f"{directory}ns/{name}")) for name in sorted(os.listdir(f"{directory}ns")))
    for name in ("root", "exe"):
        status = os.stat(directory + name)
        parts.append(b"%d %d" % (status.st_dev, status.st_ino))
    return b"\0".join(parts)


def _content(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 65536)
    finally:
        os.close(fd)


def _content_if_there(path: str) -> bytes:
    """Empty where the kernel was built without it, or has no security module (EINVAL)."""
    try:
        return _content(path)
    except OSError:
        return b""
