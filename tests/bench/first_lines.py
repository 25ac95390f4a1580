"""Enter to the program's first line, everything recorded; and commands that look at what there is."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import launches
from bench import Bench, beside
from launches import Launch
from paired import Case, Group, Line
from peers import Engine

WORDS = ("experiment=digits", "params.epochs=1", "network=none")
PROGRAM = ("python3", "train.py", "--lr=0.001", "--epochs=1")
IMPORTS = "import time; a = time.perf_counter(); import sklearn.neural_network, pandas; print(time.perf_counter() - a)"

SYNCS = "fsync,fdatasync,syncfs,sync"
HELLO = """\
# @package _global_
description: Says hello
command: [echo, hello]
network: none
cpus: 1
memory: 64MiB
"""


@contextmanager
def _unchanged(bench: Bench) -> Iterator[Sequence[Line]]:
    launch = bench.launch
    launch.whole(*WORDS)

    def peer(engine: Engine) -> Case:
        image = engine.load(launch, "digits")
        return Case(f"`{engine.name} run`, not recorded", lambda: engine.first_line(image, *PROGRAM))

    warm = Case("launch", lambda: launch.first_line(*WORDS))
    cold = Case("launch, cold", lambda: launch.cold().first_line(*WORDS))
    first = Case("launch, first of the day", lambda: _first_of_the_day(launch))
    docker, podman = beside(bench.docker, peer), beside(bench.podman, peer)
    yield (
        Line("unchanged launch → first line, warm", warm, docker, 0.5),
        Line("… cold (`LAUNCH_WARM=0`)", cold, docker, 1.0),
        Line("… warm", warm, podman),
        Line("… first of the day: cold, and MLflow's server gone", first, docker),
    )


def _first_of_the_day(launch: Launch) -> float:
    with suppress(OSError, ValueError):  # there is none
        server = json.loads((launch.home / "mlflow/server.json").read_bytes())["pid"]
        ended = os.pidfd_open(server)
        os.kill(server, signal.SIGTERM)
        _wait_for(ended)
    return launch.cold().first_line(*WORDS)


def _wait_for(pidfd: int) -> None:
    import select

    select.select([pidfd], [], [], 10)
    os.close(pidfd)


@contextmanager
def _edited(bench: Bench) -> Iterator[Sequence[Line]]:
    """A line is added to train.py, and that is built and run."""

    def ours(name: str, launch: Launch) -> Case:
        project = launches.project(bench.scratch / f"edited-{name}")
        edit = _editing(project / "experiments/digits/train.py")
        return Case(f"launch, {name}", lambda: edit() or launch.in_project(project).first_line(*WORDS))

    def peer(engine: Engine, builder: str, *, legacy: bool = False) -> Case:
        context = launches.project(bench.scratch / f"edited-{builder}") / "experiments/digits"
        (context / "Dockerfile").write_text(f"FROM {engine.load(bench.launch, 'digits')}\nCOPY . /workspace\n")
        edit, tag = _editing(context / "train.py"), f"localhost/launch-bench-{builder.lower()}"

        def once() -> float:
            edit()
            return engine.build(context, tag, legacy=legacy) + engine.first_line(tag, *PROGRAM)

        return Case(f"{builder} + `{engine.name} run`", once)

    warm, cold = ours("warm", bench.launch), ours("cold", bench.launch.cold())
    old = beside(bench.docker, lambda engine: peer(engine, "legacy", legacy=True))
    yield (
        Line("one line edited → first line, warm", warm, old, 0.6),
        Line("… cold", cold, old),
        Line("… warm", warm, beside(bench.docker, lambda engine: peer(engine, "BuildKit"))),
        Line("… warm", warm, beside(bench.podman, lambda engine: peer(engine, "podman-build"))),
    )


def _editing(program: Path) -> Callable[[], None]:
    numbers = itertools.count(1)

    def edit() -> None:
        with program.open("a") as lines:
            lines.write(f"# edit {next(numbers)}\n")

    return edit


@contextmanager
def _commands(bench: Bench) -> Iterator[Sequence[Line]]:
    bench.launch.whole(*WORDS)
    typed = (("--help",), ("runs",), ("ps",), ("logs", "@last"), ("plan", *WORDS))
    yield [
        Line(f"`launch {words[0]}`, warm", Case(words[0], lambda words=words: bench.launch.whole(*words)), None, 0.06)
        for words in typed
    ]


@contextmanager
def _fresh(bench: Bench) -> Iterator[Sequence[Line]]:
    """Archive and index are a part of the figure."""

    def fresh() -> float:
        home = bench.scratch / "fresh"
        try:
            return bench.launch.in_home(home).first_line(*WORDS, "tracking=none")
        finally:
            shutil.rmtree(home, ignore_errors=True)

    yield [Line("fresh state → first line, everything downloaded", Case("launch", fresh), None, 45)]


@contextmanager
def _import(bench: Bench) -> Iterator[Sequence[Line]]:
    """What an image without bytecode costs in each container."""

    def seconds(*overrides: str) -> float:
        words = (*WORDS, "tracking=none", "-q", "--with", "pandas", *overrides, "--", "python3", "-c", IMPORTS)
        return float(bench.launch.output(*words))

    without = Case("without bytecode", lambda: seconds("env.PYTHONPYCACHEPREFIX=/tmp/none"))
    yield [Line("importing scikit-learn and pandas in a container", Case("launch", seconds), without)]


@contextmanager
def _slow_disk(bench: Bench) -> Iterator[Sequence[Line]]:
    """What waits for a disk that is busy with another program's half a gigabyte: strace holds up each call that asks for one."""
    if shutil.which("strace") is None:
        raise SystemExit("strace: not installed")
    launch = bench.launch.in_project(launches.new_project(bench.scratch / "hello", {"hello": HELLO})).cold()
    launch.whole("experiment=hello")

    def case(name: str, *words: str) -> Case:
        tool = ("strace", "-qq", "-f", "--seccomp-bpf", "-o", os.devnull, "-e", f"trace={SYNCS}", *words)
        return Case(name, lambda: launch._replace(tool=tool).first_line("experiment=hello"))

    slow = case("launch", "-e", f"inject={SYNCS}:delay_enter=2s")
    yield [Line("first line where a disk takes 2 s for each fsync, cold", slow, case("launch, a disk that doesn't"), 1.2)]


GROUPS = (
    Group("first-line", _unchanged),
    Group("edited", _edited),
    Group("commands", _commands),
    Group("fresh", _fresh, rounds=3, warmups=0, only_named=True),
    Group("import", _import, rounds=7, only_named=True),
    Group("slow-disk", _slow_disk, rounds=5, only_named=True),
)
