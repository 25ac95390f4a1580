"""The two proc files of machines that we have seen, put together."""

from __future__ import annotations

from pathlib import Path

from runtime.cgroup.hierarchies import hierarchies

V2_MOUNTS = """\
23 28 0:21 / /proc rw,nosuid - proc proc rw
31 24 0:27 / /sys/fs/cgroup rw,nosuid,nodev - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
"""

HYBRID_MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:3 - cgroup2 cgroup2 rw
"""

HYBRID_MEMBERSHIPS = """\
9:name=systemd:/user.slice
4:memory:/jobs/17
1:cpu,cpuacct:/
0::/user.slice/session-3.scope
"""


def test_v2_only():
    own = hierarchies(V2_MOUNTS, "0::/user.slice/user-1000.slice/session-3.scope\n")
    assert Path("/sys/fs/cgroup") == own.unified_mount
    assert Path("/sys/fs/cgroup/user.slice/user-1000.slice/session-3.scope") == own.unified
    assert {} == own.legacy


def test_hybrid_has_a_parent_for_each_controller():
    own = hierarchies(HYBRID_MOUNTS, HYBRID_MEMBERSHIPS)
    assert Path("/sys/fs/cgroup/unified/user.slice/session-3.scope") == own.unified
    assert Path("/sys/fs/cgroup/memory/jobs/17") == own.legacy["memory"]
    assert Path("/sys/fs/cgroup/cpu,cpuacct") == own.legacy["cpu"] == own.legacy["cpuacct"]


def test_a_container_that_sees_only_its_part_uses_the_top_of_it():
    """Docker on v1 mounts the container's own directory, while /proc/self/cgroup may show the host's path."""
    mounts = "35 31 0:32 /docker/5f3a /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    assert Path("/sys/fs/cgroup/memory") == hierarchies(mounts, "4:memory:/docker/5f3a\n").legacy["memory"]
    assert Path("/sys/fs/cgroup/memory/x") == hierarchies(mounts, "4:memory:/docker/5f3a/x\n").legacy["memory"]
    assert Path("/sys/fs/cgroup/memory") == hierarchies(mounts, "4:memory:/\n").legacy["memory"]


def test_a_path_that_only_begins_alike_is_not_below():
    mounts = "35 31 0:32 /docker/5f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    assert Path("/sys/fs/cgroup/memory") == hierarchies(mounts, "4:memory:/docker/5f3a\n").legacy["memory"]


def test_a_blank_in_a_mount_point_is_written_in_octal():
    mounts = "31 24 0:27 / /mnt/my\\040groups rw - cgroup2 cgroup2 rw\n"
    assert Path("/mnt/my groups/a") == hierarchies(mounts, "0::/a\n").unified


def test_no_cgroups_at_all():
    own = hierarchies("23 28 0:21 / /proc rw - proc proc rw\n", "")
    assert own.unified is None
    assert {} == own.legacy
