"""A directory that several machines use: read off its mount, and tried out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.host.machine import Machine
from runtime.host.shared_files import Mount, file_system, locks, mount_of, probe_home

MOUNTINFO = """\
22 1 259:1 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p1 rw
30 22 0:45 / /home rw,relatime shared:2 - nfs4 filer:/home rw,vers=4.2,local_lock=none
33 22 0:48 / /home/Zoë\\040黒\\134 rw - nfs4 filer:/zoe rw
31 30 0:46 / /home/my\\040lab rw - lustre mgs@tcp:/scratch rw,localflock
32 22 0:47 / /homestead rw - nfs filer:/old rw,vers=3,nolock,local_lock=all
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(MOUNTINFO)
    return Machine(root=tmp_path)


@pytest.mark.parametrize(
    ("directory", "kind", "point"),
    [
        ("/home/ann", "nfs4", "/home"),
        ("/home/my lab/launch", "lustre", "/home/my lab"),
        ("/home/Zoë 黒\\/launch", "nfs4", "/home/Zoë 黒\\"),
        ("/homestead", "nfs", "/homestead"),
        ("/srv", "ext4", "/"),
    ],
)
def test_the_innermost_mount_above_a_directory_is_its_own(machine: Machine, directory: str, kind: str, point: str) -> None:
    found = mount_of(Path(directory), machine)
    assert (kind, point) == (found.type, found.point)


def mounted(kind: str, *options: str) -> Mount:
    return Mount("/shared", kind, "server:/x", frozenset(options))


@pytest.mark.parametrize(
    ("mount", "advice"),
    [
        pytest.param(mounted("nfs4", "local_lock=none"), "", id="NFS 4"),
        pytest.param(mounted("nfs", "nolock", "local_lock=all"), "`local_lock=none`", id="NFS 3 without lockd"),
        pytest.param(mounted("lustre", "flock"), "", id="Lustre"),
        pytest.param(mounted("lustre", "localflock"), "`-o flock`", id="Lustre, each machine for itself"),
        pytest.param(mounted("beegfs"), "tuneUseGlobalFileLocks", id="BeeGFS"),
        pytest.param(mounted("cifs", "nobrl"), "`nobrl`", id="SMB"),
        pytest.param(mounted("fuse.sshfs"), "`--probe`", id="FUSE"),
    ],
)
def test_locks_that_no_other_machine_sees_are_named_with_the_option_that_makes_them_so(
    tmp_path: Path, mount: Mount, advice: str
) -> None:
    found = locks(mount, tmp_path)
    assert (not advice, True) == (found.ok, advice in found.advice)


def test_a_disk_of_one_machine_is_not_taken_for_a_shared_one() -> None:
    assert [False, True, False] == [file_system(mounted(kind)).ok for kind in ("xfs", "gpfs", "fuse.sshfs")]


def test_everything_is_tried_where_home_is_to_be_and_nothing_is_left(tmp_path: Path) -> None:
    found = probe_home(tmp_path / "not/there/yet", Machine())
    assert {"home-locks", "home-rename", "home-append", "home-xattrs", "home-sockets", "home-overlay"} <= set(found)
    assert found["home-rename"].ok
    assert [] == os.listdir(tmp_path)
