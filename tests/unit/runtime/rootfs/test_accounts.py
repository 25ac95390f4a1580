"""USER[:GROUP] by the files of a running container, which may hold anything."""

from __future__ import annotations

import pytest

from runtime.rootfs.accounts import Accounts, UnknownName, User

PASSWD = (
    "root:x:0:0:root:/root:/bin/sh\nada:x:1500:1600:Ada:/home/ada:/bin/sh\nbroken\nbad:x:minus:0::/:\nhuge:x:99999999999:0::/:\n"
)
GROUP = "root:x:0:\nstaff:x:50:ada,root\nlab:x:1600:ada\nvideo:x:44:ada\n"


ACCOUNTS = Accounts(lambda path: {"etc/passwd": PASSWD, "etc/group": GROUP}[path].encode())


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("ada", User(1500, 1600, (1600, 44, 50), "/home/ada")),
        ("1500", User(1500, 1600, (1600, 44, 50), "/home/ada")),
        ("ada:staff", User(1500, 50, (50,), "/home/ada")),
        ("ada:7", User(1500, 7, (7,), "/home/ada")),
        ("4000", User(4000, 0, (0,), "/")),
        ("4000:4001", User(4000, 4001, (4001,), "/")),
        ("root", User(0, 0, (0, 50), "/root")),
        (":lab", User(0, 1600, (1600,), "/root")),
        ("", User(0, 0, (0,), "/root")),
    ],
)
def test_a_user(user: str, expected: User) -> None:
    assert expected == ACCOUNTS.user(user)


@pytest.mark.parametrize("user", ["eve", "ada:nobody", "broken", "bad", "huge", "-1", "٣", "99999999999"])
def test_who_is_not_there(user: str) -> None:
    with pytest.raises(UnknownName):
        ACCOUNTS.user(user)


def test_a_container_without_files_has_numbers() -> None:
    assert User(5, 0, (0,), "/") == Accounts(lambda _path: None).user("5")


def test_a_home_is_that_of_a_number() -> None:
    assert ("/home/ada", None) == (ACCOUNTS.home_of(1500), ACCOUNTS.home_of(7))
