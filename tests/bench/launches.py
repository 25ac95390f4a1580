"""Launches to be measured: a command line, a LAUNCH_HOME that the scripts share, and the moment of the program's first line.

`--launch` names the command to measure (default: the `launch` beside this Python, else this checkout). Give it twice and each
case is measured for both, in turn: two versions side by side.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from paired import Case

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Launch:
    """A `launch` with its state directory, called from *project*."""

    command: tuple[str, ...]
    home: Path
    project: Path = ROOT

    def first_line(self, *arguments: str) -> float:
        """Seconds from the start of the command to the first line on its stdout. Waits for the end; fails with it."""
        begun = time.perf_counter()
        process = self._start(arguments)
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - begun
        self._finish(process, arguments)
        if not line:
            raise SystemExit(f"`launch {shlex.join(arguments)}` printed nothing")
        return seconds

    def whole(self, *arguments: str) -> float:
        """Seconds until the command has ended."""
        begun = time.perf_counter()
        self._finish(self._start(arguments), arguments)
        return time.perf_counter() - begun

    def output(self, *arguments: str) -> str:
        """What the command printed on stdout."""
        return self._finish(self._start(arguments), arguments).decode()

    @property
    def uv_cache(self) -> Path:
        return self.home / "uv-cache"

    def in_home(self, home: Path) -> Launch:
        return replace(self, home=home)

    def _start(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        # stderr goes to a file: a pipe that nobody reads would stop the command.
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "bench-stderr.txt").open("wb") as complaints:
            return subprocess.Popen(
                [*self.command, *arguments], cwd=self.project, env=self._environment(), stdout=subprocess.PIPE, stderr=complaints
            )

    def _environment(self) -> dict[str, str]:
        # uv's cache is the user's own: with it a fresh state would find its wheels already downloaded.
        path = "" if len(self.command) == 1 else str(ROOT)
        return {**os.environ, "LAUNCH_HOME": str(self.home), "UV_CACHE_DIR": str(self.uv_cache), "PYTHONPATH": path}

    def _finish(self, process: subprocess.Popen[bytes], arguments: Sequence[str]) -> bytes:
        output, _none = process.communicate()
        if process.returncode != 0:
            complaints = (self.home / "bench-stderr.txt").read_text(errors="replace")
            raise SystemExit(f"`launch {shlex.join(arguments)}` exited with {process.returncode}:\n{complaints[-2000:]}")
        return output


def add_options(options: argparse.ArgumentParser) -> None:
    """`--launch`, `--home`."""
    options.add_argument("--launch", action="append", default=[], metavar="COMMAND", help="the launch to measure (repeatable)")
    home = Path(tempfile.gettempdir(), f"launch-bench-{os.getuid()}")
    options.add_argument("--home", type=Path, default=home, metavar="DIR", help=f"LAUNCH_HOME, kept between scripts ({home})")


def launches(options: argparse.Namespace) -> list[Launch]:
    """The launches that were named, each with a home of its own below `--home`."""
    commands = [tuple(shlex.split(text)) for text in options.launch] or [_installed()]
    return [Launch(command, options.home / str(number)) for number, command in enumerate(commands)]


def cases(measured: Sequence[Launch], name: str, once: Callable[[Launch], float]) -> list[Case]:
    """*once* for each launch."""
    return [
        Case(f"{name}, {shlex.join(launch.command)}" if len(measured) > 1 else name, lambda launch=launch: once(launch))
        for launch in measured
    ]


def project(directory: Path, name: str = "digits") -> Path:
    """A copy of an experiment of this repository in a project at *directory*, to be edited."""
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "conf/experiment").mkdir(parents=True)
    shutil.copy(ROOT / f"conf/experiment/{name}.yaml", directory / "conf/experiment")
    shutil.copytree(ROOT / "experiments" / name, directory / "experiments" / name, ignore=shutil.ignore_patterns("__pycache__"))
    return directory


def _installed() -> tuple[str, ...]:
    beside = Path(sys.executable).parent / "launch"
    return (str(beside),) if beside.exists() else (sys.executable, "-m", "launcher.cli.main")
