"""A command of `launch`, called by a program: done in a process of its own, as if a person had typed it.

What a launch does to the process that does it (Hydra's global state, forks, signals, the working directory) is nothing for
somebody's notebook, and there is one way to do each thing (decision 295). A failure comes back as the exception it was.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from launcher.errors import ConfigError, LaunchError, Origin
from runtime.state_dir import state_dir


@contextmanager
def hints_shown() -> Iterator[None]:
    """The body's failures show their origin and their hint in a traceback, too."""
    try:
        yield
    except LaunchError as error:
        shown = [f"  --> {error.origin}"] if error.origin is not None else []
        shown += [f"hint: {error.hint}"] if error.hint is not None else []
        for note in shown:
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)
        raise


def do(words: Sequence[str], *, project: Path | str | None = None, quiet: bool = False) -> str:
    """Do `launch WORDS` in the directory *project*, ours without one. What it says of its progress goes to our stderr, unless
    *quiet*. Returns what it printed. Raises ConfigError, LaunchError."""
    with Call(words, project=project, stderr=subprocess.DEVNULL if quiet else subprocess.PIPE) as call:
        for line in call.process.stderr or ():
            sys.stderr.write(line)
            sys.stderr.flush()
        code = call.process.wait()
        printed = call.printed()
        call.raise_failure()
    if code != 0:
        raise LaunchError(f"`launch {shlex.join(words)}` ended with exit code {code}")
    return printed


def lines_of(words: Sequence[str]) -> Iterator[str]:
    """Each line that `launch WORDS` prints, as it comes, without its end. Leaving the iterator ends the command."""
    with hints_shown(), Call(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as call:
        assert call.process.stdout is not None
        for line in call.process.stdout:
            yield line.removesuffix("\n")
        call.process.wait()
        call.raise_failure()


class Call:
    """One command that runs. A context manager: left early, as by Ctrl-C, the command gets the Ctrl-C, and leaves what is
    detached alone."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        project: Path | str | None = None,
        stdout: int | None = None,
        stderr: int = subprocess.DEVNULL,
    ) -> None:
        directory = Path.cwd() if project is None else Path(project).expanduser()
        if not directory.is_dir():
            raise ConfigError(f"no such directory: `{directory}`", hint="`project` is the directory that has `conf/`")
        # Files, not pipes: a process that the command leaves behind may keep them open.
        self._told, self._printed = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "launcher.library.command_main", str(self._told.fileno()), *words],
            cwd=directory,
            env={**os.environ, "LAUNCH_HOME": str(state_dir().root)},  # may be relative to where we are
            stdin=subprocess.DEVNULL,
            stdout=self._printed if stdout is None else stdout,
            stderr=stderr,
            pass_fds=[self._told.fileno()],
            start_new_session=True,  # a terminal's Ctrl-C is ours to pass on
            text=True,
            encoding="utf-8",
            errors="replace",
        )

    def __enter__(self) -> Call:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if self.process.poll() is None:
                self._interrupt()
        finally:
            self._told.close()
            self._printed.close()
            for pipe in (self.process.stdout, self.process.stderr):
                if pipe is not None:
                    pipe.close()

    def has_ended(self, *, within_s: float) -> bool:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(within_s)
            return True
        return False

    def printed(self) -> str:
        self._printed.seek(0)
        return self._printed.read().decode(errors="replace")

    def raise_failure(self) -> None:
        """The failure that the command ended with, if it was one of those that a user can cause."""
        self._told.seek(0)
        told = self._told.read()
        if not told:
            return
        failure = json.loads(told)
        kind = ConfigError if self.process.returncode == ConfigError.exit_code else LaunchError
        origin = None if failure["origin"] is None else Origin.parse(failure["origin"])
        error = kind(failure["message"], hint=failure["hint"], origin=origin)
        for note in failure["notes"]:
            error.add_note(note)
        raise error

    def _interrupt(self) -> None:
        """As a terminal does it. A second Ctrl-C while we wait for its end kills it."""
        try:
            self._signal(signal.SIGINT)
            self.process.wait()
        except BaseException:
            self._signal(signal.SIGKILL)
            self.process.wait()
            raise

    def _signal(self, signum: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signum)
