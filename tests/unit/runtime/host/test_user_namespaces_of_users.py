"""What takes user namespaces and ranges of ids from an ordinary user, and the command that gives them back."""

from __future__ import annotations

import pytest

from runtime.host.user_namespaces import apparmor, id_map_programs, subordinate_ids, what_forbids

HAS_THEM = {"/proc/self/ns/user": ""}


@pytest.mark.parametrize(
    ("files", "command"),
    [
        (
            {"/proc/sys/user/max_user_namespaces": "0\n"},
            "sudo sh -c 'echo user.max_user_namespaces = 28633 > /etc/sysctl.d/99-user-namespaces.conf && sysctl --system'",
        ),
        (
            {"/proc/sys/user/max_user_namespaces": "1000\n", "/proc/sys/kernel/unprivileged_userns_clone": "0\n"},
            "sudo sh -c 'echo kernel.unprivileged_userns_clone = 1 > /etc/sysctl.d/99-user-namespaces.conf && sysctl --system'",
        ),
        ({"/.dockerenv": ""}, ""),
        ({"/proc/sys/user/max_user_namespaces": "1000\n"}, ""),
    ],
    ids=["forbidden", "Debian's switch", "in a container", "nothing known"],
)
def test_a_sysctl_that_forbids_them_is_set(machine, files, command):
    assert command == what_forbids(machine(HAS_THEM | files)).command


def test_in_a_container_it_is_the_outer_ones_filter(machine):
    assert "--security-opt seccomp=unconfined" in what_forbids(machine(HAS_THEM | {"/.dockerenv": ""})).advice


def test_a_kernel_without_them(machine):
    assert "the kernel was built without CONFIG_USER_NS" == what_forbids(machine()).advice


RESTRICTED = {"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}


def test_ubuntus_restriction_is_lifted_by_a_profile_for_this_interpreter(machine):
    found = apparmor(machine(RESTRICTED | {"/proc/self/attr/current": "unconfined\n"}))
    assert not found.ok
    assert "profile launch /usr/bin/python3.12 flags=(unconfined) {\\n  userns,\\n}\\n" in found.command
    assert found.command.startswith("sudo sh -c ")
    assert "apparmor_parser -r /etc/apparmor.d/launch" in found.command


def test_with_the_profile_in_force_nothing_is_restricted(machine):
    assert apparmor(machine(RESTRICTED | {"/proc/self/attr/current": "launch (unconfined)\n"})).ok


def test_root_and_machines_without_apparmor_are_not_restricted(machine):
    assert apparmor(machine(RESTRICTED, uid=0)).ok
    assert apparmor(machine({"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "0\n"})).ok


def test_newuidmap_is_installed_by_its_package(machine):
    found = id_map_programs(machine(programs=("apt-get", "newgidmap")))
    assert (False, "sudo apt-get install -y uidmap") == (found.ok, found.command)


def test_newuidmap_without_its_power_gets_it_back(machine, tmp_path):
    one = machine(programs=("newuidmap", "newgidmap"))
    (tmp_path / "usr/bin/newgidmap").chmod(0o4755)
    found = id_map_programs(one)
    assert (False, "sudo chmod u+s /usr/bin/newuidmap") == (found.ok, found.command)


def test_newuidmap_as_it_should_be(machine, tmp_path):
    one = machine(programs=("newuidmap", "newgidmap"))
    for name in ("newuidmap", "newgidmap"):
        (tmp_path / "usr/bin" / name).chmod(0o4755)
    found = id_map_programs(one)
    assert (True, "/usr/bin/newuidmap") == (found.ok, found.detail)


def test_ranges_of_ids_are_taken_behind_everybody_elses(machine):
    others = "bob:100000:65536\neve:165536:65536\n"
    found = subordinate_ids(machine({"/etc/subuid": others, "/etc/subgid": "bob:100000:65536\n"}))
    assert "sudo usermod --add-subuids 231072-296607 --add-subgids 231072-296607 ada" == found.command


def test_only_the_file_that_lacks_one_is_named(machine):
    found = subordinate_ids(machine({"/etc/subuid": "ada:100000:65536\n", "/etc/subgid": ""}))
    assert "/etc/subgid grants `ada` nothing: a container has one id" == found.detail
    assert "sudo usermod --add-subgids 165536-231071 ada" == found.command


def test_a_range_may_be_given_by_number(machine):
    found = subordinate_ids(machine({"/etc/subuid": "1000:100000:65536\n", "/etc/subgid": "ada:100000:65536\n"}))
    assert (True, "/etc/subuid and /etc/subgid grant `ada` 65536 ids") == (found.ok, found.detail)
