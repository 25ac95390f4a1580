"""The lock of a Debian base round-trips, and says when it does not fit."""

from __future__ import annotations

import pytest

from launcher.errors import ConfigError
from launcher.plan.bases.base_lock_file import base_lock_text, read_base_lock
from runtime.build.plan import DebPackage

BASE = (DebPackage("libc6", "2.41-12", "amd64", "main", "pool/main/g/glibc/libc6_2.41-12_amd64.deb", 5, "a" * 64),)
ADDED = (DebPackage("g++", "4:14.2~1", "amd64", "security", "pool/main/g/g++.deb", 7, "b" * 64),)


@pytest.fixture
def lock(tmp_path):
    path = tmp_path / "x.base.lock"
    path.write_text(base_lock_text(BASE, ADDED, suite="trixie", apt=["g++"], command="launch lock experiment=x"))
    return path


def test_what_was_written_is_read(lock):
    read = read_base_lock(lock, suite="trixie", apt=["g++"])
    assert (read.base, read.added, read.warning) == (BASE, ADDED, None)


def test_it_holds_no_address(lock):
    assert "://" not in lock.read_text()


def test_for_another_suite_nothing_of_it_is_used(lock):
    read = read_base_lock(lock, suite="bookworm", apt=["g++"])
    assert (read.base, read.added, read.base_is_current, read.added_is_current) == ((), (), False, False)
    assert "it is for trixie, the base is bookworm" in read.warning


def test_for_other_packages_its_base_is_used(lock):
    read = read_base_lock(lock, suite="trixie", apt=["git"])
    assert (read.base, read.added, read.base_is_current, read.added_is_current) == (BASE, (), True, False)
    assert "another `image.apt`" in read.warning


def test_no_file_is_no_lock(tmp_path):
    assert read_base_lock(tmp_path / "none", suite="trixie", apt=[]) is None


@pytest.mark.parametrize("line", ["libc6", "x=1 amd64 main pool/../../etc/passwd 5 sha256:" + "a" * 64])
def test_a_damaged_line_is_named(lock, line):
    lock.write_text(lock.read_text() + line + "\n")
    with pytest.raises(ConfigError) as caught:
        read_base_lock(lock, suite="trixie", apt=["g++"])
    assert caught.value.origin.line == len(lock.read_text().splitlines())
