"""Who makes a container's init: a small process itself, a large one through its spawn helper (`runtime/container/spawn.py`)."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runtime.cgroup.entry import fork_into_cgroup
from runtime.cgroup.limits import Limits
from runtime.cgroup.own_cgroups import new_cgroup
from runtime.container import lifecycle
from runtime.errors import ContainerError
from runtime.kernel import processes
from runtime.kernel.processes import PARENT
from tests.kernel.forked import forked
from tests.kernel.oci_bundle import REPOSITORY
from tests.kernel.userland import base_layer, make_spec, run

pytestmark = pytest.mark.requires("root", "overlayfs", "idmapped-mounts", "userns", "proc", "netns")

BALLAST = 96 << 20


def helpers_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if Path(f"/proc/{child}/comm").read_text() == "launch-spawn\n"]


@contextmanager
def running(directory: Path, *argv: str) -> Iterator[lifecycle.Container]:
    spec = make_spec(directory, *argv)
    container = lifecycle.create(spec, exit_record=None)
    try:
        lifecycle.start(container)
        yield container
    finally:
        lifecycle.kill(container)
        lifecycle.wait(container)
        container.close()
        lifecycle.remove_overlay(spec.overlay_dir)


def kilobytes_of(pid: int) -> dict[str, int]:
    lines = [line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]]
    return {name.rstrip(":"): int(size) for name, size, _unit in lines}


def test_the_init_of_a_large_creator_is_small(tmp_path: Path) -> None:
    """Else it is what the kernel kills first when the container's memory is used up."""

    def work() -> Any:
        ballast = b"x" * BALLAST
        with running(tmp_path, "/usr/bin/sleep", "60") as container:
            memory = kilobytes_of(container.pid)
        return [memory["Rss"], memory["Private_Dirty"], len(ballast)]

    resident, private, _ = forked(work)
    assert resident < 32 << 10
    assert private < 6 << 10


def test_a_small_creator_needs_nobody(tmp_path: Path) -> None:
    code = f"""
import sys
sys.path[:0] = [{str(REPOSITORY)!r}]
from pathlib import Path
from runtime.cgroup.own_cgroups import new_cgroup
from runtime.cgroup.entry import fork_into_cgroup
from runtime.cgroup.limits import Limits
from runtime.container import lifecycle
from runtime.errors import ContainerError
from runtime.kernel import processes
from runtime.kernel.processes import PARENT
from runtime.container.spec import ContainerSpec
from runtime.rootfs.mount_spec import BindMount
spec = ContainerSpec("test-{os.getpid()}-small", (Path({str(tmp_path / "layer")!r}),), Path({str(tmp_path / "overlay")!r}),
    ("/usr/bin/true",), binds=(BindMount(Path("/usr"), "/host/usr", owner_is_caller=False),))
container = lifecycle.create(spec, exit_record=None)
lifecycle.start(container)
print(lifecycle.wait(container).code, "runtime.container.spawn_helper" in sys.modules)
"""
    tmp_path.chmod(0o755)
    base_layer(tmp_path / "layer")
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert "0 False\n" == done.stdout


def test_a_killed_helper_is_replaced(tmp_path: Path) -> None:
    def work() -> Any:
        ballast = b"x" * BALLAST
        codes = [run(make_spec(tmp_path, "true"))[0].code]
        (first,) = helpers_of(os.getpid())
        os.kill(first, signal.SIGKILL)
        time.sleep(0.2)
        codes.append(run(make_spec(tmp_path, "true"))[0].code)
        (second,) = helpers_of(os.getpid())
        return [codes, first != second, len(ballast)]

    assert [[0, 0], True, BALLAST] == forked(work)


def test_a_container_has_the_limits_that_its_creator_has_by_then(tmp_path: Path) -> None:
    """The helper is a process that was started before: it must not hand on what was true then."""

    def work() -> Any:
        ballast = b"x" * BALLAST
        said = []
        for blocks in (7, 5):
            resource.setrlimit(resource.RLIMIT_FSIZE, (blocks << 20, blocks << 20))
            said.append(run(make_spec(tmp_path, "sh", "-c", "ulimit -f"))[1].split())
        return [said, len(ballast)]

    (first, second), _ = forked(work)
    assert (["14336"], ["10240"]) == (first, second)


def test_a_creator_with_hardly_a_descriptor_left_is_told_so(tmp_path: Path) -> None:
    """Its init has the same limit, and needs a few more for a moment."""

    def work() -> Any:
        ballast = b"x" * BALLAST
        filling = [os.open("/", os.O_PATH) for _ in range(200)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (filling[-1] + 20, 4096))
        try:
            return [run(make_spec(tmp_path, "true"))[0].code, len(ballast)]
        except ContainerError as error:
            return [str(error), len(ballast)]

    said, _ = forked(work)
    assert "Too many open files" in str(said)


def test_a_helper_ends_with_its_creator(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    creator = os.fork()
    if creator == 0:
        ballast = b"x" * BALLAST
        run(make_spec(tmp_path, "true"))
        os.write(writer, b"%d %d" % (helpers_of(os.getpid())[0], len(ballast)))
        time.sleep(60)
        os._exit(0)
    helper = int(os.read(reader, 100).split()[0])
    pidfd = os.pidfd_open(helper)
    os.kill(creator, signal.SIGKILL)
    os.waitpid(creator, 0)
    assert processes.wait_ended(pidfd, timeout_s=20)
    os.close(pidfd)
    os.close(reader)
    os.close(writer)


def test_a_helper_has_its_inits_begin_in_their_v2_cgroup() -> None:
    """Without a move, which holds every fork of the machine."""
    with new_cgroup(f"launch-test-{os.getpid()}-sibling", Limits()) as cgroup:
        if cgroup.unified is None:
            pytest.skip("no v2 hierarchy is mounted here")
        reader, writer = os.pipe()

        def work() -> Any:
            assert cgroup.unified is not None
            pid, left_to_enter = fork_into_cgroup(os.open(cgroup.unified, os.O_RDONLY | os.O_DIRECTORY), (), PARENT)
            if pid == 0:
                os.write(writer, Path("/proc/self/cgroup").read_bytes())
                os._exit(7)
            return [pid, len(left_to_enter)]

        sibling, left_to_enter = forked(work)
        assert os.waitstatus_to_exitcode(os.waitpid(sibling, 0)[1]) == 7
        where = os.read(reader, 1 << 16).decode().splitlines()
        assert [line for line in where if line.startswith("0::") and line.endswith(f"/{cgroup.unified.name}")]
        assert left_to_enter == 0
        os.close(reader)
        os.close(writer)
