"""Builds of numpy + scikit-learn + pandas (525 MB) on a base that is here, and a COPY of many files.

Cold: no wheel in any cache, so index, download, unpack and bytecode are in it. Ours compiles bytecode; so does pip in BuildKit;
BuildKit's uv does not.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import launches
import peers
from bench import Bench, beside
from launches import Launch
from paired import Case, Group, Line, run
from peers import Engine

SMALL = ("humanize==4.12.0", "tabulate==0.9.0", "colorama==0.4.6", "toolz==1.0.0", "tomli==2.2.1", "idna==3.10")
FILES, FILE_BYTES = 20_000, 50_000

_EXPERIMENT = """\
# @package _global_
image: {{base: "{base}", {more}}}
code: {{root: code}}
command: [python3, train.py]
tracking: null
"""
_COPIED = """\
# @package _global_
image: {dockerfile: context/Dockerfile}
command: [/data/0/0]
tracking: null
"""


class Project:
    """A project with one experiment, `bench`, built by *launch*."""

    def __init__(self, launch: Launch, directory: Path) -> None:
        self.launch = launch.in_project(launches.new_project(directory, {}))
        (directory / "code").mkdir()
        (directory / "code/train.py").write_text('print("start", flush=True)\n')
        self.write()

    def write(self, *more: str, base: str = "bootstrap:debian/trixie") -> None:
        lines = ", ".join(f'"{line}"' for line in (*peers.REQUIREMENTS, *more))
        self._write(base, f"requirements: [{lines}]")

    def write_peers_base(self) -> None:
        self._write("bootstrap:debian/trixie", "apt: [python3-venv, python3-pip, ca-certificates]")

    def _write(self, base: str, more: str) -> None:
        (self.launch.project / "conf/experiment/bench.yaml").write_text(_EXPERIMENT.format(base=base, more=more))

    def begin(self) -> None:
        """Launch it: that builds it, and leaves a warm helper, which a build does not."""
        self.launch.whole("experiment=bench")

    def build(self, *overrides: str) -> float:
        return self.launch.whole("build", "experiment=bench", *overrides, "--quiet")

    def build_with(self, line: str) -> float:
        self.write(line)
        return self.build()


def _wheels_context(bench: Bench, engine: Engine) -> Path:
    """For the peer's builds, with its base loaded."""
    project = Project(bench.launch, bench.scratch / "peers-base")
    project.write_peers_base()
    return peers.wheels_context(bench.scratch / "context", engine.load(project.launch, "bench"))


@contextmanager
def _cold(bench: Bench) -> Iterator[Sequence[Line]]:
    # Nothing is removed between rounds: ext4 makes files slowly where many were just removed.
    homes = (bench.scratch / f"home-{number}" for number in itertools.count())
    hosts = (bench.scratch / f"uv-{number}" for number in itertools.count())
    project = Project(bench.launch, bench.scratch / "cold")
    project.build("image.requirements=[]")

    def make_base() -> None:
        """Let the project have a new state directory that holds the base."""
        home = next(homes)
        shutil.copytree(bench.launch.home / "store/blobs", home / "store/blobs")
        project.launch = project.launch.in_home(home)
        project.build("image.requirements=[]")

    def buildkit(engine: Engine) -> Case:
        context = _wheels_context(bench, engine)
        return Case("BuildKit + pip", lambda: engine.build(context, "launch-bench/pip", file="Dockerfile.pip", cold=True))

    launch = Case("launch build", project.build, prepare=make_base)
    uv = Case("`uv pip install --compile-bytecode`, no image", lambda: peers.uv_on_the_host(next(hosts)))
    yield (
        Line("cold build: numpy, scikit-learn, pandas, bytecode", launch, uv, 1.15),
        Line("…", launch, beside(bench.docker, buildkit)),
    )


@contextmanager
def _one_more(bench: Bench) -> Iterator[Sequence[Line]]:
    """A wheel that no cache has: in a state directory of its own, and an emptied cache of the peer's, each round takes another
    one."""
    project = Project(bench.launch.in_home(bench.scratch / "more-home"), bench.scratch / "more")
    project.begin()

    def buildkit(engine: Engine) -> Case:
        context = _wheels_context(bench, engine)
        engine.build(context, "launch-bench/uv-more", file="Dockerfile.uv", cold=True)

        def once(line: str) -> float:
            peers.write_requirements(context, [line])
            return engine.build(context, "launch-bench/uv-more", file="Dockerfile.uv")

        return Case("BuildKit + uv, no bytecode", _with_each(SMALL, once))

    launch = Case("launch build", _with_each(SMALL, project.build_with))
    yield [Line("+ one small requirement, build", launch, beside(bench.docker, buildkit), 0.4)]


def _with_each(lines: Sequence[str], build: Callable[[str], float]) -> Callable[[], float]:
    left = iter(lines)
    return lambda: build(next(left))


@contextmanager
def _rebuild(bench: Bench) -> Iterator[Sequence[Line]]:
    project = Project(bench.launch, bench.scratch / "rebuild")
    project.begin()
    cold = project.launch.cold()

    def buildkit(engine: Engine) -> Case:
        context = _wheels_context(bench, engine)
        engine.build(context, "launch-bench/uv", file="Dockerfile.uv")
        return Case("BuildKit", lambda: engine.build(context, "launch-bench/uv", file="Dockerfile.uv"))

    docker = beside(bench.docker, buildkit)
    yield (
        Line("rebuild, nothing changed, whole command, warm", Case("launch build", project.build), docker, 0.4),
        Line("… cold", Case("launch build, cold", lambda: cold.whole("build", "experiment=bench", "--quiet")), docker),
    )


@contextmanager
def _other_base(bench: Bench) -> Iterator[Sequence[Line]]:
    """The wheels' layers are there and the base is another one with the same Python, itself imported before the clock starts."""
    project = Project(bench.launch, bench.scratch / "base")
    project.begin()

    def make_another() -> None:
        made = bench.scratch / f"another-{os.urandom(4).hex()}"  # in no state directory that was kept
        project.write()
        project.build("image.requirements=[]", f'image.run=["echo {made.name} > /etc/round"]')
        project.launch.whole("save", "bench", "-o", str(made), "--format", "oci")
        project.write(base=f"oci:{made}")
        project.build("image.requirements=[]")

    launch = Case("launch build", project.build, prepare=make_another)
    yield [Line("a new base below cached wheels, build", launch, None, 0.6)]


@contextmanager
def _copy(bench: Bench) -> Iterator[Sequence[Line]]:
    """A file changes, in one directory for both."""
    project = launches.new_project(bench.scratch / "copied", {"copied": _COPIED})
    # A state directory that was kept has the layers of other numbers.
    context, numbers = project / "context", itertools.count(int.from_bytes(os.urandom(4), "big"))
    for number in range(FILES):
        path = context / f"data/{number // 1000}/{number % 1000}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(number.to_bytes(4, "big") * (FILE_BYTES // 4))
    (context / "Dockerfile").write_text("FROM scratch\nCOPY data /data\n")

    def changed() -> None:
        (context / "data/3/14").write_text(f"{next(numbers)}\n" * (FILE_BYTES // 4))

    def ours() -> float:
        changed()
        return bench.launch.in_project(project).whole("build", "experiment=copied", "--quiet")

    def buildkit(engine: Engine) -> Case:
        return Case("BuildKit", lambda: changed() or engine.build(context, "launch-bench/copied"))

    peer = beside(bench.docker, buildkit)
    yield [Line("one of 20,000 files changed in a COPY of 1 GB, build", Case("launch build", ours), peer, 0.2)]


@contextmanager
def _disk(bench: Bench) -> Iterator[Sequence[Line]]:
    project = Project(bench.launch.in_home(bench.scratch / "variants"), bench.scratch / "disk")

    def grown() -> float:
        project.build()
        one = _used_kib(project.launch.home)
        for line in SMALL[:5]:
            project.build_with(line)
        return _used_kib(project.launch.home) / one

    yield [Line("disk of six variants that differ by a small requirement, beside one's", Case("launch", grown, "×"), None, 1.05)]


def _used_kib(home: Path) -> int:
    return int(run("du", "-sk", str(home / "store")).split()[0])


GROUPS = (
    Group("rebuild", _rebuild),
    Group("one-more", _one_more, rounds=len(SMALL) - 1),
    Group("new-base", _other_base, rounds=5),
    Group("cold-build", _cold, rounds=3, warmups=0),
    Group("copy", _copy, rounds=3),
    Group("disk", _disk, rounds=1, warmups=0, only_named=True),
)
