"""The process that runs the jobs (`launcher.cli.hydra_jobs`): JSON lines to it and back. It ends, and closes the parent run, when
this process ends or lets it go, however that happens: its stdin ends."""

from __future__ import annotations

import atexit
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.errors import CompactHydraException


class Engine:
    """Started with the first batch; all batches of a program are one sweep."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        argv = [sys.executable, "-m", "launcher.cli.hydra_jobs"]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._settings: Mapping[str, Any] | None = {**settings, "command_line": [sys.executable, *sys.argv]}
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
                answer: dict[str, Any] = json.loads(line)
                return answer
            code = self._process.wait()
        if code in (130, -signal.SIGINT):
            raise KeyboardInterrupt
        if code < 0:
            words = f"was killed ({signal.Signals(-code).name}); jobs that run go on, `launch ps` shows them"
        else:
            words = f"ended with exit code {code}; its last words are above"
        raise CompactHydraException(f"error: the process that runs the jobs {words}")


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
