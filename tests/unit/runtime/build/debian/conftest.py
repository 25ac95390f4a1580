"""A signing key and an archive of packages on loopback, for the tests of the Debian base."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.runtime.build.debian.fake_archive import FakeArchive, SigningKey


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey(tmp_path)


@pytest.fixture
def archive(tmp_path: Path, key: SigningKey) -> FakeArchive:
    return FakeArchive(tmp_path / "archive", key)
