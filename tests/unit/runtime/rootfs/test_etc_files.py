"""What of /etc is ours."""

from __future__ import annotations

import os
from pathlib import Path

from runtime.rootfs.memory_files import etc_files


def made(root: Path, *, uid: int, gid: int = 0) -> dict[str, str]:
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        files = etc_files(fd, hostname="box", resolv_conf="nameserver 10.0.0.1\n", uid=uid, gid=gid, home="/home/user")
    finally:
        os.close(fd)
    return {file.target: file.content.decode() for file in files}


def test_root_needs_no_entry(tmp_path: Path) -> None:
    files = made(tmp_path, uid=0)
    assert {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"} == set(files)
    assert "127.0.1.1\tbox\n" in files["/etc/hosts"]


def test_an_unknown_user_is_added_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash")  # no newline at the end
    files = made(tmp_path, uid=1234, gid=4321)
    assert "root:x:0:0:root:/root:/bin/bash\nuser:x:1234:4321:user:/home/user:/bin/sh\n" == files["/etc/passwd"]
    assert "user:x:4321:\n" == files["/etc/group"]


def test_a_known_user_keeps_its_entry(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("www-data:x:33:33::/var/www:/bin/false\n")
    assert "/etc/passwd" not in made(tmp_path, uid=33, gid=33)


def test_a_passwd_that_leads_out_of_the_image_is_not_read(tmp_path: Path) -> None:
    image = tmp_path / "image"
    (image / "etc").mkdir(parents=True)
    (tmp_path / "secret").write_text("host")
    (image / "etc/passwd").symlink_to("../../secret")
    assert "user:x:1234:0:user:/home/user:/bin/sh\n" == made(image, uid=1234)["/etc/passwd"]
