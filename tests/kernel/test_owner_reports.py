"""Build steps in a user namespace with one id: who a file belongs to is what the step said, though the kernel can't hold it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from shell_layer import copy_programs, program_files
from userland import base_layer

from runtime.container.run_once import OWNER_NOTES, run_to_completion
from runtime.container.spec import ContainerSpec
from runtime.kernel.id_maps import IdMapKind
from runtime.layer.diff import diff
from runtime.layer.noted_owners import NOTE, apply_noted_owners
from runtime.layer.tree import Tree, TreeEntry

pytestmark = pytest.mark.requires("root", "overlayfs", "proc", "seccomp")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    root = base_layer(tmp_path / "base")
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / "usr" / name).unlink()
        (root / "usr" / name).mkdir()
    copy_programs(root, program_files("sh mkdir ln chmod chown chgrp mv touch mkfifo chroot cp"))
    (root / "etc/there").write_text("there")
    (root / "etc/link").symlink_to("there")
    return root


def owners_after(tmp_path: Path, base: Path, script: str) -> dict[str, TreeEntry]:
    """The entries that *script* left, by path."""
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    spec = ContainerSpec(
        container_id=f"owners-{os.getpid()}",
        layers=(base,),
        overlay_dir=overlay,
        argv=("/bin/sh", "-ec", script),
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
        build=True,
    )
    ended, output = run_to_completion(spec, kinds=(IdMapKind.SINGLE,))
    assert 0 == ended.shell_code, output.decode()
    tree: Tree = apply_noted_owners(diff(overlay / "u"), overlay / "u", (overlay / OWNER_NOTES).read_bytes())
    for entry in tree:
        assert NOTE not in os.listxattr(overlay / "u" / entry.path, follow_symlinks=False), entry.path
    return {entry.path: entry for entry in tree}


def owner(entry: TreeEntry) -> tuple[int, int]:
    return entry.uid, entry.gid


def test_files_belong_to_whom_they_were_given(tmp_path: Path, base: Path) -> None:
    found = owners_after(tmp_path, base, "cd /etc; touch a b; chown 33:44 a; chown 5 b; chgrp 6 b; mkdir d; chown -R 7:8 d")
    assert (33, 44) == owner(found["etc/a"])
    assert (5, 6) == owner(found["etc/b"])
    assert (7, 8) == owner(found["etc/d"])
    assert (0, 0) == owner(found["etc"])


def test_a_rename_takes_the_owner_along(tmp_path: Path, base: Path) -> None:
    script = "cd /etc; touch a; chown 33:44 a; mv a b; ln -s x l; chown -h 5:6 l; mv l m; mkfifo f; chown 8:9 f; mv f g"
    found = owners_after(tmp_path, base, script)
    assert [(33, 44), (5, 6), (8, 9)] == [owner(found[path]) for path in ("etc/b", "etc/m", "etc/g")]


def test_what_a_lower_layer_has_comes_up_with_its_new_owner(tmp_path: Path, base: Path) -> None:
    found = owners_after(tmp_path, base, "chown 33:44 /etc/there; chown -h 5:6 /etc/link")
    assert (33, 44) == owner(found["etc/there"])
    assert (5, 6) == owner(found["etc/link"])
    assert found["etc/there"].size == len("there")


def test_a_link_is_followed_unless_it_is_meant_itself(tmp_path: Path, base: Path) -> None:
    found = owners_after(tmp_path, base, "chown 33:44 /etc/link")
    assert (33, 44) == owner(found["etc/there"])
    assert "etc/link" not in found


def test_a_change_of_owner_takes_setuid_away_as_the_kernel_does(tmp_path: Path, base: Path) -> None:
    found = owners_after(tmp_path, base, "cd /etc; touch a b; chmod 6755 a; chmod 2644 b; chown 5:60 a b")
    assert 0o755 == found["etc/a"].mode
    assert 0o2644 == found["etc/b"].mode


def test_paths_are_those_of_a_changed_root(tmp_path: Path, base: Path) -> None:
    script = "mkdir -p /r/etc; cp -a /usr /r; for d in bin lib lib64; do ln -s usr/$d /r/$d; done; touch /r/etc/a"
    found = owners_after(tmp_path, base, f"{script}; chroot /r chown 3:4 /etc/a")
    assert (3, 4) == owner(found["r/etc/a"])


def test_what_is_not_there_is_refused_as_ever(tmp_path: Path, base: Path) -> None:
    owners_after(tmp_path, base, "! chown 1:1 /etc/nowhere 2>/dev/null; ! chown 1:1 /etc/there/x 2>/dev/null")


def test_changes_by_many_processes_at_once_are_all_noted(tmp_path: Path, base: Path) -> None:
    files = "for j in 1 2 3 4 5 6 7 8 9; do touch $i.$j; chown $i:$j $i.$j; done"
    found = owners_after(tmp_path, base, f"mkdir /n; cd /n; for i in 1 2 3 4; do ({files}) & done; wait")
    expected = {f"n/{i}.{j}": (i, j) for i in range(1, 5) for j in range(1, 10)}
    assert expected == {path: owner(found[path]) for path in expected}
