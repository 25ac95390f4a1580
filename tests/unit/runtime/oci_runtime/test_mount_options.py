"""Options of a mount reach whom they are for."""

from __future__ import annotations

from runtime.kernel import mounts
from runtime.oci_runtime.mounts.mount_options import ATTR_ATIME, ATTR_NOATIME, MS_PRIVATE, MS_SLAVE, plan_mount


def test_attributes_are_told_from_options_of_the_file_system() -> None:
    plan = plan_mount("tmpfs", ["nosuid", "mode=755", "size=64k", "huge"])
    assert (mounts.ATTR_NOSUID, (("mode", "755"), ("size", "64k"), ("huge", None))) == (plan.attributes, plan.data)
    assert not plan.bind


def test_the_last_of_two_opposites_wins() -> None:
    assert (0, mounts.ATTR_RDONLY) == plan_mount("tmpfs", ["ro", "rw"])[3:5]
    assert (mounts.ATTR_RDONLY, 0) == plan_mount("tmpfs", ["rw", "ro"])[3:5]


def test_times_of_access_replace_one_another() -> None:
    plan = plan_mount("tmpfs", ["strictatime", "noatime"])
    assert (ATTR_NOATIME, ATTR_ATIME) == (plan.attributes, plan.cleared)


def test_rbind_and_the_type_bind_are_bind_mounts() -> None:
    assert (True, True) == plan_mount("none", ["rbind"])[:2]
    assert (True, False) == plan_mount("bind", [])[:2]


def test_an_attribute_for_everything_below_is_kept_apart() -> None:
    plan = plan_mount("bind", ["rbind", "rro", "nodev"])
    assert (mounts.ATTR_NODEV, mounts.ATTR_RDONLY) == (plan.attributes, plan.all_attributes)


def test_relatime_is_no_recursive_elatime() -> None:
    assert (0, ATTR_ATIME, 0) == (*plan_mount("tmpfs", ["relatime"])[3:5], plan_mount("tmpfs", ["relatime"]).all_cleared)


def test_propagation_knows_whether_it_is_recursive() -> None:
    assert (MS_PRIVATE, True) == plan_mount("bind", ["rprivate"])[7:9]
    assert (MS_SLAVE, False) == plan_mount("bind", ["slave"])[7:9]


def test_a_mount_can_ask_for_a_copy_and_for_a_map() -> None:
    plan = plan_mount("tmpfs", ["tmpcopyup", "ridmap"])
    assert (True, True, True) == (plan.copy_up, plan.id_mapped, plan.id_mapped_recursive)
