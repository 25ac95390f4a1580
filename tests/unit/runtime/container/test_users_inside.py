"""USER[:GROUP] by the files of a running container, which may hold anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.container.users import UserInside, find_user, read_text
from runtime.errors import ContainerError

PASSWD = (
    "root:x:0:0:root:/root:/bin/sh\nada:x:1500:1600:Ada:/home/ada:/bin/sh\nbroken\nbad:x:minus:0::/:\nhuge:x:99999999999:0::/:\n"
)
GROUP = "root:x:0:\nstaff:x:50:ada,root\nlab:x:1600:ada\nvideo:x:44:ada\n"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("ada", UserInside(1500, 1600, (44, 50), "/home/ada")),
        ("1500", UserInside(1500, 1600, (44, 50), "/home/ada")),
        ("ada:staff", UserInside(1500, 50, (), "/home/ada")),
        ("ada:7", UserInside(1500, 7, (), "/home/ada")),
        ("4000", UserInside(4000, 0, (), "/")),
        ("4000:4001", UserInside(4000, 4001, (), "/")),
        ("root", UserInside(0, 0, (50,), "/root")),
        (":lab", UserInside(0, 1600, (), "/root")),
    ],
)
def test_a_user(user: str, expected: UserInside) -> None:
    assert expected == find_user(user, passwd=PASSWD, group=GROUP)


@pytest.mark.parametrize("user", ["eve", "ada:nobody", "broken", "bad", "huge", "-1", "٣", "99999999999"])
def test_who_is_not_there(user: str) -> None:
    with pytest.raises(ContainerError):
        find_user(user, passwd=PASSWD, group=GROUP)


def test_a_container_without_files_has_numbers() -> None:
    assert UserInside(5, 0, (), "/") == find_user("5", passwd="", group="")


def test_what_is_no_plain_file_is_empty(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert "" == read_text(str(tmp_path / "fifo")) == read_text(str(tmp_path)) == read_text("/dev/zero") == read_text("/no/such")
