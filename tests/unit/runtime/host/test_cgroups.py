"""Why an ordinary user's limits are not enforced, or processes end at logout, and the command that changes it."""

from __future__ import annotations

from runtime.host.cgroups import linger, what_is_missing

MANAGER = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service"
V2 = {
    "/proc/self/mountinfo": "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n",
    "/proc/self/cgroup": "0::/user.slice/user-1000.slice/session-2.scope\n",
}
SYSTEMD = {"/run/systemd/system/present": "", "/run/user/1000/systemd/private": ""}


def test_a_controller_that_systemd_keeps_is_delegated(machine):
    found = what_is_missing(machine(V2 | SYSTEMD | {f"{MANAGER}/cgroup.controllers": "memory pids\n"}), "cpu")
    assert found.command.startswith("sudo sh -c ")
    assert "Delegate=cpu cpuset io memory pids" in found.command
    assert "/etc/systemd/system/user@.service.d/delegate.conf" in found.command
    assert "systemctl daemon-reload" in found.command


def test_a_controller_that_is_delegated_is_held_by_a_job_around(machine):
    found = what_is_missing(machine(V2 | SYSTEMD | {f"{MANAGER}/cgroup.controllers": "cpu memory pids\n"}), "memory")
    assert ("", True) == (found.command, "a job around this one" in found.advice)


def test_after_su_there_is_no_manager(machine):
    found = what_is_missing(machine(V2 | {"/run/systemd/system/present": ""}), "memory")
    assert "sudo loginctl enable-linger ada" == found.command


def test_without_systemd_root_has_to_give_one(machine):
    assert "give it to you" in what_is_missing(machine(V2), "memory").advice


def test_v1_is_left_by_booting_with_v2(machine):
    v1 = {
        "/proc/self/mountinfo": "31 20 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
        "/proc/self/cgroup": "4:memory:/\n0::/\n",
    }
    found = what_is_missing(machine(v1, programs=("grubby",)), "memory")
    assert "sudo grubby --update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=1" == found.command


def test_systemd_ends_what_a_user_left_running(machine):
    found = linger(machine({"/run/systemd/system/present": ""}))
    assert (False, "loginctl enable-linger ada") == (found.ok, found.command)


def test_a_lingering_user_and_a_machine_without_systemd(machine):
    assert linger(machine()).ok
    assert linger(machine({"/run/systemd/system/present": "", "/var/lib/systemd/linger/ada": ""})).ok
    assert linger(machine(uid=0)).ok
