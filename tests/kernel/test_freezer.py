"""Everything in a cgroup stands still and goes on, with v2's freezer and with v1's."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from waiting import eventually

from runtime.cgroup.cgroup import Cgroup
from runtime.cgroup.freezer import can_freeze, freeze, is_frozen, thaw
from runtime.cgroup.hierarchies import own_hierarchies
from runtime.errors import Unsupported

pytestmark = pytest.mark.requires("root")


def _directory(kind: str) -> Path:
    own = own_hierarchies()
    parent = own.unified if kind == "v2" else own.legacy.get("freezer")
    if parent is None or (kind == "v2" and not Path("/proc/self/ns/cgroup").exists()):
        pytest.skip(f"there is no freezer of {kind} here")
    return parent / f"launch-test-freezer-{os.getpid()}"


@pytest.fixture(params=["v2", "v1"])
def cgroup(request: pytest.FixtureRequest) -> Iterator[Cgroup]:
    directory = _directory(request.param)
    directory.mkdir()
    try:
        yield Cgroup("launch-test", {"freezer": directory}) if request.param == "v1" else Cgroup("launch-test", {}, directory)
    finally:
        with suppress(OSError):
            Cgroup("launch-test", {"freezer": directory}, None if request.param == "v1" else directory).kill()
        directory.rmdir()


def test_a_counter_stands_still_and_goes_on(cgroup: Cgroup, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    script = f"i=0; while :; do i=$((i+1)); echo $i > {counter}; done"
    with subprocess.Popen(["sh", "-c", script]) as process:
        try:
            cgroup.add(process.pid)
            eventually(lambda: counter.exists() and counter.stat().st_size > 0)
            assert can_freeze(cgroup)
            assert not is_frozen(cgroup)
            freeze(cgroup)
            assert is_frozen(cgroup)
            before = counter.read_text()
            time.sleep(0.2)
            assert before == counter.read_text()
            thaw(cgroup)
            assert not is_frozen(cgroup)
            eventually(lambda: before != counter.read_text())
        finally:
            thaw(cgroup)
            process.kill()


def test_what_stands_still_can_be_killed(cgroup: Cgroup) -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        cgroup.add(process.pid)
        freeze(cgroup)
        cgroup.kill()
        assert process.wait(timeout=20) == -9


def test_what_another_froze_with_v1_is_seen_and_thawed_beside_v2() -> None:
    """As engines do on hybrid machines; we freeze by v2 there."""
    directories = [_directory("v1"), _directory("v2")]
    for directory in directories:
        directory.mkdir()
    both = Cgroup("launch-test", {"freezer": directories[0]}, directories[1])
    try:
        (directories[0] / "freezer.state").write_text("FROZEN")
        assert is_frozen(both)
        thaw(both)
        assert not is_frozen(both)
    finally:
        for directory in directories:
            directory.rmdir()


def test_no_cgroup_says_what_it_takes() -> None:
    nothing = Cgroup("launch-none")
    assert not can_freeze(nothing)
    assert not is_frozen(nothing)
    thaw(nothing)
    with pytest.raises(Unsupported, match="no cgroup with a freezer"):
        freeze(nothing)
