"""Order of versions, judged by deb-version(7)'s rules and by examples from dpkg's own test-suite."""

from __future__ import annotations

import pytest

from runtime.build.debian.relations import version_fits, version_key


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        pytest.param("1.0~rc1", "1.0", id="tilde sorts before the end"),
        pytest.param("1.0~~", "1.0~", id="two tildes before one"),
        pytest.param("1.9", "1.10", id="numbers are numbers"),
        pytest.param("1.0", "1.0a", id="end before a letter"),
        pytest.param("1.0a", "1.0+", id="letters before other characters"),
        pytest.param("9.0", "1:0.1", id="epoch first"),
        pytest.param("1.0-1", "1.0-1+b1", id="binary rebuild"),
        pytest.param("1.0-1", "1.0-1+deb13u1", id="security update"),
        pytest.param("2.41-12+deb13u1~bpo12+1", "2.41-12+deb13u1", id="backport before what it is from"),
        pytest.param("1.2-1", "1.2-1.1", id="non-maintainer upload"),
        pytest.param("1-1-9", "1-2-0", id="only the last dash begins the revision"),
    ],
)
def test_older_sorts_before_newer(older: str, newer: str) -> None:
    assert version_key(older) < version_key(newer)


@pytest.mark.parametrize(("one", "other"), [("1.0", "0:1.0"), ("1.0", "1.0-0"), ("1.00", "1.0")])
def test_two_spellings_of_one_version_are_equal(one: str, other: str) -> None:
    assert version_key(one) == version_key(other)


def test_relations_compare_versions() -> None:
    assert version_fits("2.0", ">=", "1.0~rc1")
    assert version_fits("1.0", "=", "1.0")
    assert not version_fits("1.0", ">>", "1.0")
    assert version_fits("0.9", "<<", "1.0")
