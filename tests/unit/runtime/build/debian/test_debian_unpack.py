"""Unpacking .debs: one layer whatever the order, merged /usr, owners in the tree, dpkg's database; and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from runtime.build.debian.apply_unpack_debs import apply_unpack_debs
from runtime.build.debian.deb_file import read_deb
from runtime.build.debian.locked_debs import resolve_base
from runtime.build.observer import NullObserver
from runtime.build.plan import UnpackDebs
from runtime.build.sources import DebianSource
from runtime.errors import BadContent, BuildError, Unsupported
from runtime.layer.tree import TreeEntry
from runtime.store.records import Layer
from runtime.store.store import Store
from tests.unit.runtime.build.debian.fake_archive import FakeArchive, Item, directory, hard_link, symlink


def with_base(archive: FakeArchive) -> FakeArchive:
    archive.add(
        "base-passwd",
        [
            directory("./usr/share/base-passwd"),
            Item("./usr/share/base-passwd/passwd.master", b"root:*:0:0:root:/root:/bin/bash\n"),
            Item("./usr/share/base-passwd/group.master", b"root:*:0:\nshadow:*:42:\n"),
        ],
        Essential="yes",
    )
    return archive


def unpacked(archive: FakeArchive, home: Path, packages: list[str]) -> tuple[Layer, dict[str, TreeEntry], Path]:
    source = DebianSource({"main": archive.publish().url}, home / "cache", (archive.key.keyring,))
    locked = resolve_base("trixie", packages, source=source)
    store = Store(home / "store").ensure()
    layer = apply_unpack_debs(UnpackDebs("trixie", locked), store=store, source=source, below=(), observer=NullObserver())
    return layer, {entry.path: entry for entry in store.tree_of(layer)}, store.layer_dir(layer)


def test_files_of_bin_and_lib_lie_below_usr_and_the_links_are_there(archive: FakeArchive, tmp_path: Path) -> None:
    with_base(archive).add("a", [directory("./bin"), Item("./bin/sh", b"x", mode=0o755), symlink("./lib64", "usr/lib64")])
    _, tree, root = unpacked(archive, tmp_path, ["a"])
    assert ("symlink", "usr/bin") == (tree["bin"].type, tree["bin"].link)
    assert ("file", 0o755) == (tree["usr/bin/sh"].type, tree["usr/bin/sh"].mode)
    assert b"x" == (root / "bin/sh").read_bytes()


def test_owners_and_setgid_are_in_the_tree_whoever_builds(archive: FakeArchive, tmp_path: Path) -> None:
    with_base(archive).add("a", [Item("./usr/sbin/unix_chkpwd", b"x", mode=0o2755, gid=42)])
    _, tree, _ = unpacked(archive, tmp_path, ["a"])
    assert (0o2755, 0, 42) == (
        tree["usr/sbin/unix_chkpwd"].mode,
        tree["usr/sbin/unix_chkpwd"].uid,
        tree["usr/sbin/unix_chkpwd"].gid,
    )
    assert (0o640, 42) == (tree["etc/shadow"].mode, tree["etc/shadow"].gid)


def test_two_builds_are_one_layer(archive: FakeArchive, tmp_path: Path) -> None:
    with_base(archive)
    for number in range(20):
        archive.add(
            f"p{number:02}", [directory("./usr/share/x", 0o755 if number else 0o700), Item(f"./usr/share/x/{number}", b"y")]
        )
    wanted = [f"p{number:02}" for number in range(20)]
    first, tree, _ = unpacked(archive, tmp_path / "one", wanted)
    second, _, _ = unpacked(archive, tmp_path / "two", list(reversed(wanted)))
    assert first.diff_id == second.diff_id
    assert 0o700 == tree["usr/share/x"].mode, "the first package by name says a directory's mode"


def test_hard_links_stay_links_within_the_package(archive: FakeArchive, tmp_path: Path) -> None:
    with_base(archive).add("a", [Item("./usr/bin/perl5", b"perl"), hard_link("./usr/bin/perl", "./usr/bin/perl5")])
    _, tree, root = unpacked(archive, tmp_path, ["a"])
    assert {"file", "hardlink"} == {tree["usr/bin/perl"].type, tree["usr/bin/perl5"].type}
    assert (root / "usr/bin/perl").stat().st_ino == (root / "usr/bin/perl5").stat().st_ino


def test_the_database_says_unpacked_with_conffiles_and_triggers(archive: FakeArchive, tmp_path: Path) -> None:
    control = {
        "conffiles": b"/etc/a.conf\n",
        "triggers": b"interest-noawait ldconfig\ninterest /usr/x\n",
        "postinst": b"#!/bin/sh\n",
    }
    with_base(archive).add("a", [Item("./etc/a.conf", b"set\n")], control_files=control, Multi_Arch="same", Depends="b")
    archive.add("b")
    _, _, root = unpacked(archive, tmp_path, ["a"])
    dpkg = root / "var/lib/dpkg"
    status = (dpkg / "status").read_text()
    assert "Package: a\nStatus: install ok unpacked\nVersion: 1.0\n" in status
    md5 = hashlib.md5(b"set\n", usedforsecurity=False).hexdigest()
    assert f"Conffiles:\n /etc/a.conf {md5}\n" in status
    assert "/.\n/etc/a.conf\n" == (dpkg / "info/a:amd64.list").read_text()
    assert (dpkg / "info/a:amd64.postinst").exists()
    assert "a:amd64/noawait\n" == (dpkg / "triggers/ldconfig").read_text()
    assert "/usr/x a:amd64\n" == (dpkg / "triggers/File").read_text()


def test_two_packages_with_one_file_are_refused_by_name(archive: FakeArchive, tmp_path: Path) -> None:
    with_base(archive).add("a", [Item("./usr/bin/x", b"1")])
    archive.add("b", [Item("./bin/x", b"2")])
    with pytest.raises(BuildError, match=r"packages `.` and `.` both ship `/usr/bin/x`"):
        unpacked(archive, tmp_path, ["a", "b"])


def test_a_link_of_one_package_cannot_redirect_a_file_of_another(archive: FakeArchive, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    with_base(archive).add("a", [symlink("./usr/share/x", str(outside))])
    archive.add("b", [Item("./usr/share/x/evil", b"2")])
    with pytest.raises(BuildError, match=r"`/usr/share/x`"):
        unpacked(archive, tmp_path, ["a", "b"])
    assert [] == list(outside.iterdir())


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(Item("./usr/../../evil", b"x"), id="dots"),
        pytest.param(hard_link("./usr/x", "./etc/passwd"), id="hard link to a file of nobody"),
        pytest.param(hard_link("./usr/x", "../../../../etc/passwd"), id="hard link out of the root"),
        pytest.param(Item("./usr/null", kind=b"3"), id="device"),
        pytest.param(symlink("./lib", "/elsewhere"), id="another merged link"),
        pytest.param(Item("./bin", b"x"), id="a file in place of a merged link"),
    ],
)
def test_hostile_members_are_refused(archive: FakeArchive, tmp_path: Path, item: Item) -> None:
    with_base(archive).add("a", [item])
    with pytest.raises((BadContent, BuildError)):
        unpacked(archive, tmp_path, ["a"])


def test_a_deb_with_another_hash_is_refused(archive: FakeArchive, tmp_path: Path) -> None:
    pool = with_base(archive).add("a")
    content = bytearray(pool.read_bytes())
    content[-2] ^= 1
    pool.write_bytes(content)
    with pytest.raises(BadContent, match=r"does not have the sha256 that was locked for `a` `1.0`"):
        unpacked(archive, tmp_path, ["a"])


def test_a_deb_that_the_archive_has_dropped_is_explained(archive: FakeArchive, tmp_path: Path) -> None:
    with_base(archive).add("a").unlink()
    with pytest.raises(BuildError, match=r"the archive no longer has `a` `1.0`"):
        unpacked(archive, tmp_path, ["a"])


def test_a_kept_deb_needs_no_archive(archive: FakeArchive, tmp_path: Path) -> None:
    pool = with_base(archive).add("a", [Item("./usr/x", b"1")])
    before, _, _ = unpacked(archive, tmp_path, ["a"])
    pool.unlink()
    after, _, _ = unpacked(archive, tmp_path, ["a"])
    assert before.diff_id == after.diff_id


def test_a_deb_that_is_another_package_is_refused(archive: FakeArchive, tmp_path: Path) -> None:
    with_base(archive).add("a")
    archive.stanzas[-1] = archive.stanzas[-1].replace("Package: a", "Package: b")
    with pytest.raises(BadContent, match=r"the .deb of `b` says that it is `a`"):
        unpacked(archive, tmp_path, ["b"])


@pytest.mark.parametrize(
    ("content", "error"),
    [
        pytest.param(b"no ar", BadContent, id="no ar"),
        pytest.param(b"!<arch>\nshort", BadContent, id="cut header"),
        pytest.param(b"!<arch>\n" + f"{'debian-binary':<48}{'9999':<10}".encode() + b"`\n2.0\n", BadContent, id="cut member"),
    ],
)
def test_a_damaged_deb_is_no_traceback(content: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_deb(content, name="x")


def test_an_unknown_compression_is_named() -> None:
    def member(name: str, body: bytes) -> bytes:
        return f"{name:<48}{len(body):<10}".encode() + b"`\n" + body

    deb = b"!<arch>\n" + member("debian-binary", b"2.0\n") + member("control.tar.zst", b"xx") + member("data.tar.zst", b"xx")
    with pytest.raises(Unsupported, match=r"compressed as `\.zst`"):
        read_deb(deb, name="x")
