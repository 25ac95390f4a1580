"""Launches to be measured: a command line, a LAUNCH_HOME that the scripts share, and the moment of the program's first line."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Launch(NamedTuple):
    """A `launch` with its state directory, called from *project*."""

    command: tuple[str, ...]
    home: Path
    project: Path = ROOT
    is_warm: bool = True
    """Whether a warm helper may do it, and is left behind."""
    tool: tuple[str, ...] = ()
    """What starts it, as strace does."""

    def first_line(self, *arguments: str) -> float:
        """Seconds from the start of the command to the first line on its stdout. Waits for the end; fails with it."""
        begun = time.perf_counter()
        process = self.start(arguments)
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
        self._finish(self.start(arguments), arguments)
        return time.perf_counter() - begun

    def output(self, *arguments: str) -> str:
        """What the command printed on stdout."""
        return self._finish(self.start(arguments), arguments).decode()

    @property
    def uv_cache(self) -> Path:
        return self.home / "uv-cache"

    def in_home(self, home: Path) -> Launch:
        return self._replace(home=home)

    def in_project(self, project: Path) -> Launch:
        return self._replace(project=project)

    def cold(self) -> Launch:
        return self._replace(is_warm=False)

    def start(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        """The command, going; its stdout is a pipe."""
        # stderr goes to a file: a pipe that nobody reads would stop the command.
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "bench-stderr.txt").open("wb") as complaints:
            return subprocess.Popen(
                [*self.tool, *self.command, *arguments],
                cwd=self.project,
                env=self._environment(),
                stdout=subprocess.PIPE,
                stderr=complaints,
            )

    def _environment(self) -> dict[str, str]:
        # uv's cache is the user's own: with it a fresh state would find its wheels already downloaded.
        path = "" if len(self.command) == 1 else str(ROOT)
        warm = "1" if self.is_warm else "0"
        own = {"LAUNCH_HOME": str(self.home), "UV_CACHE_DIR": str(self.uv_cache), "PYTHONPATH": path, "LAUNCH_WARM": warm}
        return {**os.environ, **own}

    def _finish(self, process: subprocess.Popen[bytes], arguments: Sequence[str]) -> bytes:
        output, _none = process.communicate()
        if process.returncode != 0:
            complaints = (self.home / "bench-stderr.txt").read_text(errors="replace")
            raise SystemExit(f"`launch {shlex.join(arguments)}` exited with {process.returncode}:\n{complaints[-2000:]}")
        return output


def add_options(options: argparse.ArgumentParser) -> None:
    """`--launch`, `--home`."""
    beside = Path(sys.executable).parent / "launch"
    installed = str(beside) if beside.exists() else f"{sys.executable} -m launcher.warm.client"
    options.add_argument("--launch", default=installed, metavar="COMMAND", help="the launch to measure")
    home = Path(tempfile.gettempdir(), f"launch-bench-{os.getuid()}")
    options.add_argument("--home", type=Path, default=home, metavar="DIR", help=f"LAUNCH_HOME, kept between calls ({home})")


def chosen_launch(options: argparse.Namespace) -> Launch:
    return Launch(tuple(shlex.split(options.launch)), options.home / "0")


def project(directory: Path, name: str = "digits") -> Path:
    """A copy of an experiment of this repository in a project at *directory*, to be edited."""
    new_project(directory, {name: (ROOT / f"conf/experiment/{name}.yaml").read_text()})
    shutil.copytree(ROOT / "experiments" / name, directory / "experiments" / name, ignore=shutil.ignore_patterns("__pycache__"))
    return directory


def new_project(directory: Path, experiments: dict[str, str]) -> Path:
    """A project at *directory*, empty but for *experiments*: text by name."""
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "conf/experiment").mkdir(parents=True)
    for name, text in experiments.items():
        (directory / f"conf/experiment/{name}.yaml").write_text(text)
    return directory
