"""Where a container's v2 cgroup is made. Directories here are plain ones: what the kernel does is in tests/kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.cgroup import v2_parent

EVERYTHING = frozenset(("cpu", "memory", "pids"))


@pytest.fixture
def group(tmp_path):
    """Make a directory that looks like a cgroup."""

    def make(path: str, *, available="cpu memory pids", given="", is_root=False, **limits: str) -> Path:
        directory = tmp_path / path
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "cgroup.controllers").write_text(available + "\n")
        (directory / "cgroup.subtree_control").write_text(given + "\n")
        (directory / "cgroup.procs").write_text("")
        if not is_root:
            (directory / "cgroup.type").write_text("domain\n")
        for file, value in limits.items():
            (directory / file.replace("_", ".")).write_text(value + "\n")
        return directory

    return make


def no_systemd() -> None:
    return None


def test_the_root_of_the_hierarchy_takes_children_directly(group):
    root = group(".", is_root=True, given="cpu memory pids")
    assert v2_parent.Parent(root, EVERYTHING) == v2_parent.find_parent(root, root, ask_systemd=no_systemd)


def test_a_root_without_controllers_says_so(group):
    root = group(".", is_root=True, available="")
    found = v2_parent.find_parent(root, root, ask_systemd=no_systemd)
    assert (root, frozenset()) == (found.directory, found.controllers)
    assert "the kernel gives no controllers to the v2 hierarchy" == found.reason


def test_who_stepped_into_the_leaf_already_uses_what_is_above(group):
    above = group("scope", given="cpu memory pids")
    leaf = group(f"scope/{v2_parent.LEAF}")
    assert v2_parent.Parent(above, EVERYTHING) == v2_parent.find_parent(leaf, above.parent, ask_systemd=no_systemd)


def test_systemd_is_asked_before_anything_of_its_own_is_touched(group):
    own, scope = group("session.scope", given=""), group("launch.scope", given="cpu memory pids")
    assert v2_parent.Parent(scope, EVERYTHING) == v2_parent.find_parent(own, own.parent, ask_systemd=lambda: scope)
    assert (scope / v2_parent.LEAF).is_dir()
    assert not (own / v2_parent.LEAF).exists()


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        pytest.param("slurmstepd.scope/job_1/step_0", {}, id="a job inside a unit"),
        pytest.param("run-1.scope", {"memory_max": "1073741824"}, id="a unit with MemoryMax="),
        pytest.param("run-1.scope", {"cpu_max": "100000 100000"}, id="a unit with CPUQuota="),
    ],
)
def test_systemd_does_not_take_us_out_of_what_limits_us(group, path, limit):
    above, own, scope = group("."), group(path, **limit), group("launch.scope", given="cpu memory pids")
    assert own == v2_parent.find_parent(own, above, ask_systemd=lambda: scope).directory


def test_the_process_limit_that_systemd_gives_every_unit_is_nobodys_wish(group):
    own, scope = group("cron.service", pids_max="4915"), group("launch.scope", given="cpu memory pids")
    assert scope == v2_parent.find_parent(own, own.parent, ask_systemd=lambda: scope).directory


def test_without_systemd_a_sibling_is_made_where_the_parent_gives_controllers(group):
    above, own = group(".", given="memory pids"), group("init")
    assert v2_parent.Parent(above, frozenset({"memory", "pids"})) == v2_parent.find_parent(own, above, ask_systemd=no_systemd)


@pytest.mark.parametrize("limit", [{"memory_max": "1073741824"}, {"cpu_max": "100000 100000"}, {"pids_max": "50"}])
def test_a_limit_on_our_own_cgroup_is_never_escaped_by_a_sibling(group, limit):
    above, own = group(".", given="cpu memory pids"), group("job", **limit)
    found = v2_parent.find_parent(own, above, ask_systemd=no_systemd)
    assert (own, frozenset()) == (found.directory, found.controllers)


def test_max_is_no_limit(group):
    above, own = group(".", given="memory"), group("job", memory_max="max", cpu_max="max 100000")
    assert above == v2_parent.find_parent(own, above, ask_systemd=no_systemd).directory


def test_nothing_works_and_the_reason_is_kept(group):
    above, own = group(".", given=""), group("job")
    found = v2_parent.find_parent(own, above, ask_systemd=no_systemd)
    assert v2_parent.Parent(own, frozenset(), f"cgroup `{own}` is not delegated to this user") == found
