"""The process that runs the jobs, `launch hydra-jobs`: JSON lines to it and back. It ends, and closes the parent run, when this
process ends or lets it go, however that happens: its stdin ends."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import Any, Iterator, Mapping, Sequence

from hydra.errors import CompactHydraException

PROTOCOL = 1
"""Of the lines. `launch` refuses one that it does not know."""


class Engine:
    """Started with the first batch; all batches of a program are one sweep."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._command = find_launch()
        self._process = subprocess.Popen([self._command, "hydra-jobs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._settings: Mapping[str, Any] | None = {
            **settings,
            "protocol": PROTOCOL,
            "command_line": [sys.executable, *sys.argv],
        }
        atexit.register(self._let_go)

    def run(self, jobs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """How each of *jobs* ended. Raises KeyboardInterrupt when a person ended them first."""
        answer = self._ask({"settings": self._settings, "jobs": jobs})
        self._settings = None
        if "error" in answer:
            raise CompactHydraException(answer["error"])
        if answer.get("interrupted"):
            raise KeyboardInterrupt
        found: list[dict[str, Any]] = answer["jobs"]
        return found

    def _let_go(self) -> None:
        """The sweep's last words come before the program ends."""
        self._process.communicate()

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with _interrupts_are_for_the_engine():
            try:
                self._process.stdin.write(json.dumps(request) + "\n")
                self._process.stdin.flush()
                line = self._process.stdout.readline()
            except BrokenPipeError:
                line = ""
            if line:
                return self._read(line)
            code = self._process.wait()
        if code in (130, -signal.SIGINT):
            raise KeyboardInterrupt
        if code < 0:
            words = f"was killed ({signal.Signals(-code).name}); jobs that run go on, `launch ps` shows them"
        else:
            words = f"ended with exit code {code}; its last words are above"
        raise CompactHydraException(f"error: `{self._command} hydra-jobs`, which runs the jobs, {words}")

    def _read(self, line: str) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            message = f"error: `{self._command}` answered `{line.strip()[:80]}`: it is another program called launch"
            raise CompactHydraException(f"{message}\n\nhint: the first `launch` on PATH is taken") from None
        return answer


def find_launch() -> str:
    """The command `launch`: beside the Python that runs the program, whose environment need not be active, else on PATH."""
    beside = os.path.join(os.path.dirname(sys.executable), "launch")
    found = beside if os.access(beside, os.X_OK) else shutil.which("launch")
    if found is None:
        raise CompactHydraException(
            f"error: the command `launch` is neither beside `{sys.executable}` nor on PATH\n\n"
            "hint: install launch in an environment of its own (`pipx install` or `uv tool install` do that), or add the\n"
            "directory that it is in to PATH"
        )
    return found


@contextmanager
def _interrupts_are_for_the_engine() -> Iterator[None]:
    """Ctrl-C reaches both processes: the engine lets the running jobs finish, and its answer ends this one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda _signum, _frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
