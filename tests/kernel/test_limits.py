"""Limits as a program in a container meets them, and what the supervisor learns of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from runtime.cgroup.cgroup import Cgroup
from runtime.cgroup.hierarchies import own_hierarchies
from runtime.cgroup.limits import Limits, Usage
from runtime.cgroup.oom import OomKills, kills_on_this_machine
from runtime.cgroup.own_cgroups import make_cgroup, new_cgroup, open_cgroup
from runtime.container import lifecycle
from runtime.container.spec import ProcessExit
from runtime.errors import ContainerError
from tests.kernel.forked import forked
from tests.kernel.userland import python_spec

pytestmark = pytest.mark.requires("cgroup-memory", "cgroup-cpu", "cgroup-pids")

in_a_container = pytest.mark.requires("overlayfs", "userns", "proc")

MIB = 1 << 20
GREEDY = f"held = bytearray({400 * MIB})"


@dataclass(frozen=True)
class Ended:
    exit: ProcessExit
    output: str
    usage: Usage
    wall_s: float
    oom: OomKills | None


def run_limited(directory: Path, code: str, limits: Limits, *, inside: Cgroup | None = None) -> Ended:
    """Run *code* in a container made by a small process, as the supervisor is. Init is a fork of its maker, and the OOM killer
    counts what a fork shares: made by a test runner that has grown over a thousand tests, init would be the largest victim.
    """
    joined = [] if inside is None else [str(path / "cgroup.procs") for path in {*inside.controllers.values()}]
    join = ["sh", "-c", 'for procs in $JOINED; do echo $$ > "$procs"; done; exec "$@"', "sh"]
    argv = [*join, sys.executable, __file__, str(directory), code, json.dumps(limits._asdict())]
    places = os.pathsep.join((str(Path(__file__).parents[2]), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))
    env = {**os.environ, "PYTHONPATH": places, "JOINED": " ".join(joined)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    oom = OomKills(**found["oom"]) if found["oom"] else None
    return Ended(ProcessExit(*found["exit"]), found["output"], Usage(**found["usage"]), found["wall_s"], oom)


def run_limited_here(directory: Path, code: str, limits: Limits) -> Ended:
    """Run *code* in a container with *limits*; its output must fit a pipe."""
    spec = python_spec(directory, code)
    with new_cgroup(f"launch-{spec.container_id}", limits) as cgroup:
        assert () == cgroup.warnings
        started = time.monotonic()
        container = lifecycle.create(spec, exit_record=None, cgroup=cgroup)
        try:
            lifecycle.start(container)
            ended = lifecycle.wait(container)
            wall_s = time.monotonic() - started
            output = os.read(container.stdout_fd, 65536).decode()
            return Ended(ended, output, cgroup.usage(), wall_s, cgroup.oom_kills())
        finally:
            lifecycle.kill(container)
            container.close()
            lifecycle.remove_overlay(spec.overlay_dir)


def name() -> str:
    return f"launch-test-{os.getpid()}-{time.monotonic_ns():x}"


@in_a_container
def test_a_program_over_its_memory_limit_is_killed_and_recognised(tmp_path):
    ended = run_limited(tmp_path, GREEDY, Limits(memory_bytes=128 * MIB))
    assert ProcessExit(None, signal.SIGKILL) == ended.exit
    assert 1 == ended.usage.oom_kills
    assert 100 * MIB < ended.usage.peak_memory_bytes <= 128 * MIB
    assert ended.oom is not None
    assert (1, True, 128 * MIB) == (ended.oom.processes, ended.oom.own, ended.oom.limit_bytes)


@in_a_container
def test_a_program_that_an_outer_limit_ended_is_not_blamed_on_its_own(tmp_path):
    """Slurm's, Kubernetes' or a slice's limit: below it the run's own 512 MiB are not what it met."""
    before = kills_on_this_machine()
    with new_cgroup(name(), Limits(memory_bytes=96 * MIB)) as outer:
        if outer.controllers["memory"] == outer.unified:
            os.setxattr(outer.unified, "user.delegate", b"1")  # as systemd marks what it leaves to others

        ended = run_limited(tmp_path, GREEDY, Limits(memory_bytes=512 * MIB), inside=outer)
        assert ended.oom is not None
        assert (signal.SIGKILL, 1) == (ended.exit.signal, ended.oom.processes)
        assert (str(outer.controllers["memory"]), False, 96 * MIB) == (
            str(ended.oom.cgroup),
            ended.oom.own,
            ended.oom.limit_bytes,
        )
    assert before is not None
    assert kills_on_this_machine() > before


@in_a_container
def test_a_program_that_outlives_its_child_is_recognised_too(tmp_path):
    """A DataLoader's worker dies, the program ends with its own code: the reason is memory all the same."""
    # The kernel chooses whom it kills by size and chance; the worker volunteers (proc_pid_oom_score_adj(5)).
    volunteer = "open('/proc/self/oom_score_adj', 'w').write('1000')"
    code = f"import os, sys\nif os.fork() == 0:\n    {volunteer}\n    {GREEDY}\nos.wait()\nsys.exit(3)"
    ended = run_limited(tmp_path, code, Limits(memory_bytes=128 * MIB))
    assert (ProcessExit(3, None), 1) == (ended.exit, ended.usage.oom_kills)


@in_a_container
def test_a_sigkill_without_memory_pressure_is_not_blamed_on_memory(tmp_path):
    ended = run_limited(tmp_path, "import os; os.kill(os.getpid(), 9)", Limits(memory_bytes=128 * MIB))
    assert (ProcessExit(None, signal.SIGKILL), 0) == (ended.exit, ended.usage.oom_kills)


@in_a_container
def test_a_program_within_its_limit_is_left_alone(tmp_path):
    ended = run_limited(tmp_path, f"held = bytearray({50 * MIB})", Limits(memory_bytes=128 * MIB))
    assert (ProcessExit(0, None), 0) == (ended.exit, ended.usage.oom_kills)
    assert ended.usage.peak_memory_bytes > 50 * MIB
    assert ended.exit.peak_process_bytes > 50 * MIB


@in_a_container
def test_a_fork_bomb_stops_at_the_process_limit(tmp_path):
    code = """
import os, time
children = []
try:
    while len(children) < 100:
        pid = os.fork()
        if pid == 0:
            time.sleep(60)
        children.append(pid)
except BlockingIOError:
    print(len(children))
"""
    ended = run_limited(tmp_path, code, Limits(pids=20))
    assert 20 - 4 <= int(ended.output) < 20  # init and the program count too


@pytest.mark.parametrize("cpus", [0.25, None])
def test_a_container_is_made_with_all_cores_and_its_program_has_its_share(cpus):
    def quota() -> str:
        directory = cgroup.controllers["cpu"]
        files = (directory / "cpu.cfs_quota_us", directory / "cpu.max")
        return next(file.read_text().split()[0] for file in files if file.exists())

    with new_cgroup(name(), Limits(cpus=cpus)) as cgroup:
        limit = quota()
        with suppress(ValueError), cgroup.cpu_unlimited():
            assert quota() in ("-1", "max")
            raise ValueError
        assert limit == quota()
    with cgroup.cpu_unlimited():
        pass  # a cgroup that is gone has no limit to lift


@in_a_container
def test_processor_time_is_limited(tmp_path):
    code = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    ended = run_limited(tmp_path, code, Limits(cpus=0.25))
    assert ProcessExit(0, None) == ended.exit
    assert ended.wall_s > 0.3 / 0.25 * 0.75
    assert 0.25 < ended.usage.cpu_s < 0.25 * ended.wall_s + 0.1  # a quota may be overdrawn by one period


def _sleeper() -> int:
    """A process that ends only by being killed."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(60)
    return pid


def test_kill_reaches_who_left_the_session():
    with new_cgroup(name(), Limits()) as cgroup:
        ready, go = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.read(ready, 1)
            if os.fork() == 0:
                os.setsid()
                _sleeper()
            while True:
                time.sleep(60)
        cgroup.add(pid)
        os.write(go, b"x")
        while len(cgroup.pids()) < 3:
            time.sleep(0.002)
        cgroup.kill()
        assert signal.SIGKILL == os.waitpid(pid, 0)[1]
        cgroup.remove()
        assert [] == [directory for directory in cgroup.directories if directory.exists()]


def test_the_end_of_the_block_kills_and_removes_even_after_a_failure():
    pid = _sleeper()

    def fail() -> None:
        with new_cgroup(one, Limits()) as cgroup:
            cgroup.add(pid)
            raise ValueError("on purpose")

    one = name()
    with pytest.raises(ValueError, match="on purpose"):
        fail()
    assert () == open_cgroup(one).directories
    assert signal.SIGKILL == os.waitpid(pid, 0)[1]


def test_a_name_in_use_is_refused_and_a_leftover_is_replaced():
    one = name()
    leftover = make_cgroup(one, Limits(memory_bytes=64 * MIB))
    with new_cgroup(one, Limits()) as cgroup:
        assert leftover.directories == cgroup.directories
        cgroup.add(pid := _sleeper())
        with pytest.raises(ContainerError, match=f"exists and is in use .pids .*{pid}"):
            make_cgroup(one, Limits())
    os.waitpid(pid, 0)


def test_a_process_that_is_gone_cannot_be_added():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    with new_cgroup(name(), Limits()) as cgroup, pytest.raises(ContainerError, match=f"process {pid} ended before"):
        cgroup.add(pid)


def test_a_cgroup_is_found_by_its_name_from_another_place():
    """A run that is recovered was made from another session's cgroup."""
    one = name()
    with new_cgroup(one, Limits()) as cgroup, new_cgroup(f"{one}-elsewhere", Limits()) as elsewhere:

        def seen_from_elsewhere() -> list[str]:
            elsewhere.add(os.getpid())
            return [str(directory) for directory in open_cgroup(one).directories]

        assert sorted(map(str, cgroup.directories)) == sorted(forked(seen_from_elsewhere))
    assert () == open_cgroup(one).directories


def test_removing_what_is_gone_is_no_failure():
    Cgroup("launch-none").remove()
    cgroup = make_cgroup(name(), Limits())
    cgroup.remove()
    cgroup.remove()
    cgroup.kill()
    assert [] == cgroup.pids()


def test_cgroups_below_are_removed_with_it():
    """A program may make its own, where its cgroup file system is writable."""
    cgroup = make_cgroup(name(), Limits())
    for directory in cgroup.directories:
        (directory / "below" / "deeper").mkdir(parents=True)
    cgroup.remove()
    assert [] == [directory for directory in cgroup.directories if directory.exists()]


def test_swap_is_no_way_around_the_memory_limit():
    with new_cgroup(name(), Limits(memory_bytes=64 * MIB)) as cgroup:
        memory = cgroup.controllers["memory"]
        v1, v2 = memory / "memory.memsw.limit_in_bytes", memory / "memory.swap.max"
        assert [str(64 * MIB)] == [v1.read_text().strip()] if v1.exists() else ["0"] == [v2.read_text().strip()]


@pytest.mark.requires("ordinary-user")
def test_an_ordinary_user_without_delegation_is_warned_and_goes_on():
    def as_nobody() -> list[str]:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        cgroup = make_cgroup(name(), Limits(memory_bytes=64 * MIB, cpus=2))
        cgroup.add(os.getpid())
        assert cgroup.usage().oom_kills == 0
        cgroup.remove()
        return list(cgroup.warnings)

    warnings = forked(as_nobody)
    assert ["the memory limit of 64 MiB", "the limit of 2 CPUs"] == [one.partition(" is not enforced: ")[0] for one in warnings]


def test_own_hierarchies_are_directories():
    own = own_hierarchies()
    found = [*own.legacy.values(), *([own.unified] if own.unified else [])]
    assert found
    assert [] == [directory for directory in found if not directory.is_dir()]


if __name__ == "__main__":
    _ended = run_limited_here(Path(sys.argv[1]), sys.argv[2], Limits(**json.loads(sys.argv[3])))
    _document = {
        "exit": (_ended.exit.code, _ended.exit.signal, _ended.exit.peak_process_bytes, _ended.exit.cpu_s),
        "output": _ended.output,
        "usage": _ended.usage._asdict(),
        "wall_s": _ended.wall_s,
        "oom": None if _ended.oom is None else _ended.oom._asdict(),
    }
    print(json.dumps(_document, default=str))
