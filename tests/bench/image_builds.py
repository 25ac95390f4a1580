"""Builds of numpy + scikit-learn + pandas (525 MB) on a base that is here: cold, warm, one requirement more, another base below.

    python tests/bench/image_builds.py                   # beside uv on the host
    DOCKER_HOST=unix:///… python tests/bench/image_builds.py     # and beside BuildKit

Cold: no wheel in any cache, so index, download, unpack and bytecode are in it. Ours compiles bytecode; so does pip in BuildKit's
pip row; BuildKit's uv row does not. Disk: what five variants add that differ by one small requirement.
"""

from __future__ import annotations

import copy
import itertools
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import build_peers
import launches
from build_peers import Docker
from paired import Case, measure, parser

SMALL = ("humanize==4.12.0", "tabulate==0.9.0", "colorama==0.4.6", "toolz==1.0.0", "tomli==2.2.1")

_EXPERIMENT = """\
# @package _global_
image: {{base: "{base}", requirements: [{requirements}]}}
code: {{root: code}}
command: [python3, train.py]
tracking: null
"""


def main() -> None:
    options = parser(__doc__, rounds=3)
    launches.add_options(options)
    chosen = options.parse_args()
    launch = launches.launches(chosen)[0]
    docker = Docker() if Docker.answers() else None
    with tempfile.TemporaryDirectory(dir=chosen.home.parent) as scratch:
        ours = _Ours(launch, Path(scratch) / "project")
        ours.build()
        _cold(ours, docker, Path(scratch), rounds=chosen.rounds)
        _warm(ours, docker, Path(scratch), rounds=3 * chosen.rounds)
        _one_more(ours, docker, Path(scratch), rounds=min(len(SMALL) - 1, chosen.rounds))
        _other_base(ours, rounds=chosen.rounds)
        _disk(ours)


class _Ours:
    """A project with one experiment, `bench`."""

    def __init__(self, launch: launches.Launch, project: Path) -> None:
        self.launch = launches.Launch(launch.command, launch.home, project)
        (project / "conf/experiment").mkdir(parents=True)
        (project / "code").mkdir()
        (project / "code/train.py").write_text('print("start", flush=True)\n')
        self.write()

    def write(self, *more: str, base: str = "bootstrap:debian/trixie") -> None:
        requirements = ", ".join(f'"{line}"' for line in (*build_peers.REQUIREMENTS, *more))
        text = _EXPERIMENT.format(base=base, requirements=requirements)
        (self.launch.project / "conf/experiment/bench.yaml").write_text(text)

    def build(self) -> float:
        return self.launch.whole("build", "experiment=bench", "--quiet")

    def with_base_only(self, home: Path) -> _Ours:
        """The same project with a new state directory that holds the base, and no wheel in any cache."""
        fresh = copy.copy(self)
        fresh.launch = self.launch.in_home(home)
        fresh.launch.whole("build", "experiment=bench", "image.requirements=[]", "--quiet")
        return fresh


def _cold(ours: _Ours, docker: Docker | None, scratch: Path, *, rounds: int) -> None:
    # Nothing is removed between rounds: ext4 makes files slowly where many were just removed.
    number = itertools.count()
    debs = ours.launch.home / "store/blobs"

    def cold() -> float:
        home = scratch / f"home-{next(number)}"
        shutil.copytree(debs, home / "store/blobs")
        return ours.with_base_only(home).build()

    def uv() -> float:
        return build_peers.uv_on_the_host(scratch / f"uv-{next(number)}")

    cases = [Case("launch build", cold), Case("uv pip install --compile-bytecode on the host", uv)]
    if docker is not None:
        build_peers.give_base_to_docker(ours.launch, scratch)
        context = build_peers.context(scratch / "context")
        cases += [_docker_case(docker, context, kind, cold=True) for kind in ("pip", "uv")]
    measure("Cold build: numpy + scikit-learn + pandas on a local base", cases, rounds=rounds, warmups=1)


def _docker_case(docker: Docker, context: Path, kind: str, *, cold: bool = False) -> Case:
    name = f"BuildKit, {kind}{' + cache mount' if kind == 'pip' else ', no bytecode'}"
    return Case(name, lambda: docker.build(context, f"launch-bench/{kind}", kind=kind, cold=cold))


def _warm(ours: _Ours, docker: Docker | None, scratch: Path, *, rounds: int) -> None:
    cases = [Case("launch build", ours.build)]
    if docker is not None:
        cases += [_docker_case(docker, scratch / "context", "pip")]
    measure("Warm rebuild, nothing changed, whole command", cases, rounds=rounds)


def _one_more(ours: _Ours, docker: Docker | None, scratch: Path, *, rounds: int) -> None:
    cases = [Case("launch build", _adding(SMALL, lambda line: _ours_with(ours, line)))]
    for kind in ("uv", "pip") if docker is not None else ():
        cases.append(Case(f"BuildKit, {kind}", _adding(SMALL, lambda line, kind=kind: _docker_with(docker, scratch, kind, line))))
    measure("One small requirement added, wheel not cached, build only", cases, rounds=rounds)
    ours.write()


def _adding(lines: tuple[str, ...], build: Callable[[str], float]) -> Callable[[], float]:
    left = iter(lines)
    return lambda: build(next(left))


def _ours_with(ours: _Ours, line: str) -> float:
    ours.write(line)
    return ours.build()


def _docker_with(docker: Docker | None, scratch: Path, kind: str, line: str) -> float:
    assert docker is not None
    (scratch / "context/requirements.txt").write_text("".join(f"{each}\n" for each in (*build_peers.REQUIREMENTS, line)))
    return docker.build(scratch / "context", f"launch-bench/{kind}-more", kind=kind)


def _other_base(ours: _Ours, *, rounds: int) -> None:
    """The wheels' layers are there and the base is another one with the same Python, itself imported before the clock starts."""
    number = iter(range(1000))

    def another() -> float:
        made = ours.launch.project / f"another-{next(number)}"
        ours.write(base="bootstrap:debian/trixie")
        changed = f'image.run=["echo {made.name} > /etc/round"]'
        ours.launch.whole("build", "experiment=bench", "image.requirements=[]", changed, "--quiet")
        ours.launch.whole("save", "bench", "-o", str(made), "--format", "oci")
        ours.write(base=f"oci:{made}")
        ours.launch.whole("build", "experiment=bench", "image.requirements=[]", "--quiet")
        return ours.build()

    measure("A new base below, wheels' layers cached", [Case("launch build", another)], rounds=rounds)
    ours.write()


def _disk(ours: _Ours) -> None:
    def used() -> int:
        done = subprocess.run(["du", "-sk", str(ours.launch.home / "store")], capture_output=True, text=True, check=True)
        return int(done.stdout.split()[0])

    ours.build()
    one = used()
    for line in SMALL:
        _ours_with(ours, line)
    print("### Disk of five variants that differ by one small requirement\n")
    print(f"one: {one} KiB; with five more: {used()} KiB, {used() / one:.3f} of it\n")


if __name__ == "__main__":
    main()
