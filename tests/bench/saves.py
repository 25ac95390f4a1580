"""A save to the program's first line: in a container that stays, ours and a peer's, and without one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import launches
from bench import Bench
from paired import Case, Group, Line
from peers import Engine

_TEXT = "print('begun', flush=True)\n"


@contextmanager
def _saves(bench: Bench) -> Iterator[Sequence[Line]]:
    launch = bench.launch.in_project(launches.project(bench.scratch / "saves"))
    program = launch.project / "experiments/digits/train.py"
    theirs = bench.scratch / "peers-saves/train.py"  # or what they save would wake ours
    theirs.parent.mkdir()
    for file in (program, theirs):
        file.write_text(_TEXT)
    with ExitStack() as held:

        def exec_of(engine: Engine | str) -> Case | str:
            if isinstance(engine, str):
                return engine
            words = held.enter_context(engine.going(engine.load(bench.launch, "digits"), theirs.parent))
            return Case(f"save, then `{engine.name} exec`", lambda: _first_line([*words, "python3", "train.py"], theirs))

        docker, podman = exec_of(bench.docker), exec_of(bench.podman)
        watching = held.enter_context(launch.start(("dev", "experiment=digits", "network=none", "--watch", "--name", "saves")))
        held.callback(launch.whole, "stop", "saves")
        assert watching.stdout is not None
        lines = watching.stdout

        def saved() -> float:
            begun = _save(program)
            if not lines.readline():
                raise SystemExit(f"`launch dev --watch` has ended with {watching.wait()}")
            return time.perf_counter() - begun

        if not lines.readline():
            raise SystemExit(f"`launch dev --watch` has ended with {watching.wait()}")
        bare = Case("save, then a bare `python`", lambda: _first_line([sys.executable, str(theirs)], theirs))
        ours = Case("launch dev --watch", saved)
        yield (
            Line("`launch dev --watch`: save → first line", ours, docker),
            Line("…", ours, podman),
            Line("…", ours, bare),
            Line("…", ours, None, 0.3),
        )


def _save(program: Path) -> float:
    """When *program* was saved."""
    begun = time.perf_counter()
    program.write_text(_TEXT)
    return begun


def _first_line(words: Sequence[str], program: Path) -> float:
    begun = _save(program)
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - begun
        process.stdout.read()
    if not line or process.returncode != 0:
        raise SystemExit(f"`{' '.join(words)}` printed nothing, or exited with {process.returncode}")
    return seconds


GROUPS = (Group("save", _saves),)
