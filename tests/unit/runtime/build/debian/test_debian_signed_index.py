"""The chain of trust: signature → index → hashes; and against replays the suite's name and Valid-Until."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.build.debian.debian_base import interpreter_of
from runtime.build.debian.locked_debs import resolve_base
from runtime.build.debian.release_signature import SHIPPED_KEYRING, verify_signature
from runtime.build.sources import DebianSource
from runtime.errors import BadContent, BuildError
from tests.unit.runtime.build.debian.fake_archive import FakeArchive, SigningKey


def source(archive: FakeArchive, cache: Path, *, key: SigningKey | None = None) -> DebianSource:
    return DebianSource({"main": archive.url}, cache / "cache", ((key or archive.key).keyring,))


def test_a_signed_archive_is_locked(archive: FakeArchive, tmp_path: Path) -> None:
    archive.add("python3", Depends="python3.13-minimal")
    archive.add("python3.13-minimal", version="3.13.5-2+deb13u1")
    locked = resolve_base("trixie", ["python3"], source=source(archive.publish(), tmp_path))
    assert [("python3", "1.0"), ("python3.13-minimal", "3.13.5-2+deb13u1")] == [(one.name, one.version) for one in locked]
    python = interpreter_of(locked)
    assert ("/usr/bin/python3.13", "3.13.5", "3.13") == (python.executable, python.version, python.minor)


def test_the_index_is_asked_again_from_the_cache_without_its_packages_file(archive: FakeArchive, tmp_path: Path) -> None:
    archive.add("a")
    archive.publish()
    before = resolve_base("trixie", ["a"], source=source(archive, tmp_path))
    archive.packages.unlink()
    assert before == resolve_base("trixie", ["a"], source=source(archive, tmp_path))


def test_a_damaged_cache_is_not_believed(archive: FakeArchive, tmp_path: Path) -> None:
    archive.add("a")
    archive.publish()
    before = resolve_base("trixie", ["a"], source=source(archive, tmp_path))
    (cached,) = (tmp_path / "cache").iterdir()
    cached.write_bytes(b"rubbish")
    assert before == resolve_base("trixie", ["a"], source=source(archive, tmp_path))


def test_a_changed_index_is_refused(archive: FakeArchive, tmp_path: Path) -> None:
    archive.add("a")
    archive.publish()
    archive.in_release.write_bytes(archive.in_release.read_bytes().replace(b"Origin: Debian", b"Origin: Debiam"))
    with pytest.raises(BadContent, match=r"the signature of `file:.*/InRelease` is not good"):
        resolve_base("trixie", ["a"], source=source(archive, tmp_path))


def test_an_unknown_key_is_refused_and_both_sides_are_named(archive: FakeArchive, tmp_path: Path) -> None:
    archive.add("a")
    archive.publish()
    other = SigningKey(tmp_path, "other")
    with pytest.raises(BadContent, match=r"is not good") as caught:
        resolve_base("trixie", ["a"], source=source(archive, tmp_path, key=other))
    assert caught.value.hint is not None
    assert "other.pgp" in caught.value.hint
    assert "signed by `" in caught.value.hint


def test_an_unsigned_index_is_refused(archive: FakeArchive, tmp_path: Path) -> None:
    archive.add("a")
    archive.publish()
    archive.in_release.write_text("Codename: trixie\n")
    with pytest.raises(BadContent, match=r"is not signed"):
        resolve_base("trixie", ["a"], source=source(archive, tmp_path))


def test_text_around_the_signed_part_does_not_count(key: SigningKey) -> None:
    message = b"Codename: evil\n" + key.sign("Codename: trixie\n") + b"Codename: evil\n"
    try:
        text = verify_signature(message, keyrings=[key.keyring], origin="x")
    except BadContent:
        return
    assert b"evil" not in text


def test_a_signature_by_one_key_of_several_keyrings_is_enough(key: SigningKey) -> None:
    assert b"hello\n" == verify_signature(key.sign("hello\n"), keyrings=[SHIPPED_KEYRING, key.keyring], origin="x")


def test_the_index_of_another_suite_is_refused_although_it_is_signed(archive: FakeArchive, tmp_path: Path) -> None:
    archive.add("a")
    archive.extra_fields = {"Codename": "bookworm", "Suite": "oldstable"}
    with pytest.raises(BadContent, match=r"is that of suite `bookworm` .* not of `trixie`"):
        resolve_base("trixie", ["a"], source=source(archive.publish(), tmp_path))


def test_an_expired_index_is_refused_with_its_date_and_ours(archive: FakeArchive, tmp_path: Path) -> None:
    archive.add("a")
    archive.extra_fields = {"Valid-Until": "Sat, 01 Jan 2022 00:00:00 UTC"}
    with pytest.raises(BadContent, match=r"expired on 2022-01-01 00:00 UTC") as caught:
        resolve_base("trixie", ["a"], source=source(archive.publish(), tmp_path))
    assert "this clock is wrong" in str(caught.value.hint)


def test_a_packages_file_with_another_hash_is_refused(archive: FakeArchive, tmp_path: Path) -> None:
    archive.add("a")
    archive.publish()
    content = bytearray(archive.packages.read_bytes())
    content[-1] ^= 1
    archive.packages.write_bytes(content)
    with pytest.raises(BadContent, match=r"does not have the sha256 that the signed index names"):
        resolve_base("trixie", ["a"], source=source(archive, tmp_path))


def test_a_packages_file_that_is_too_long_is_not_read_to_its_end(archive: FakeArchive, tmp_path: Path) -> None:
    archive.add("a")
    archive.publish()
    archive.packages.write_bytes(archive.packages.read_bytes() + b"x" * 100)
    with pytest.raises(BadContent, match=r"is larger than"):
        resolve_base("trixie", ["a"], source=source(archive, tmp_path))


def test_an_address_that_is_no_archive_says_what_the_address_must_be(archive: FakeArchive, tmp_path: Path) -> None:
    archive.root.mkdir()
    with pytest.raises(BuildError, match=r"has no suite `trixie`") as caught:
        resolve_base("trixie", ["a"], source=source(archive, tmp_path))
    assert "`dists/`" in str(caught.value.hint)


def test_debians_own_keys_are_shipped_and_readable() -> None:
    import pysequoia

    assert len(pysequoia.Cert.split_bytes(SHIPPED_KEYRING.read_bytes())) >= 6
