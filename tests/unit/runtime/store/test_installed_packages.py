"""Packages as dpkg, apk and Python record them in an image."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.layer.tree import Tree, TreeEntry
from runtime.store.installed_packages import InstalledPackage, installed_packages, os_release
from runtime.store.merged_tree import MergedTree, merge

DPKG = """\
Package: git
Status: install ok installed
Architecture: amd64
Source: git-source (1:2.0)
Version: 1:2.47.3-0+deb13u1
Description: fast, scalable
 Version: not this one
 .
 more

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: half
Status: install ok unpacked
Architecture: all
Version: 2~rc1
"""

APK = """\
C:Q1abc=
P:busybox-binsh
V:1.36.1-r29
A:x86_64
L:GPL-2.0-only
o:busybox
F:bin
R:sh

P:musl
V:1.2.5-r0
A:x86_64
L:MIT
o:musl
"""


def tree_with(tmp_path: Path, files: dict[str, str], *links: TreeEntry) -> MergedTree:
    entries: dict[str, TreeEntry] = {link.path: link for link in links}
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
        entries[path] = TreeEntry(path, "file", 0o644, size=len(text), sha256=path)
        for parent in list(Path(path).parents)[:-1]:
            entries.setdefault(str(parent), TreeEntry(str(parent), "dir", 0o755))
    return merge([Tree.of(entries.values())], roots=[tmp_path])


def test_debian_packages_are_those_that_dpkg_has_not_only_the_configuration_of(tmp_path: Path) -> None:
    where = "var/lib/dpkg/status"
    assert [
        InstalledPackage("deb", "git", "1:2.47.3-0+deb13u1", "amd64", "git-source", location=where),
        InstalledPackage("deb", "half", "2~rc1", "all", location=where),
    ] == installed_packages(tree_with(tmp_path, {where: DPKG}))


def test_an_image_without_dpkg_has_one_record_a_package(tmp_path: Path) -> None:
    directory = "var/lib/dpkg/status.d"
    record = "Package: tzdata\nArchitecture: all\nVersion: 2026a-1\n"
    tree = tree_with(tmp_path, {f"{directory}/tzdata": record, f"{directory}/tzdata.md5sums": "0123  usr/x\n"})
    assert [("tzdata", "2026a-1")] == [(package.name, package.version) for package in installed_packages(tree)]


@pytest.mark.parametrize("is_merged", [False, True])
def test_alpine_packages_with_licence_and_source(tmp_path: Path, is_merged: bool) -> None:
    """`/lib` may be a link to `usr/lib`."""
    where = "usr/lib/apk/db/installed" if is_merged else "lib/apk/db/installed"
    links = (TreeEntry("lib", "symlink", 0o777, link="usr/lib"),) if is_merged else ()
    found = installed_packages(tree_with(tmp_path, {where: APK}, *links))
    assert [
        InstalledPackage(
            "apk", "busybox-binsh", "1.36.1-r29", "x86_64", "busybox", ("GPL-2.0-only",), location="lib/apk/db/installed"
        ),
        InstalledPackage("apk", "musl", "1.2.5-r0", "x86_64", "", ("MIT",), location="lib/apk/db/installed"),
    ] == found


@pytest.mark.parametrize(
    ("fields", "licences", "is_expression"),
    [
        pytest.param("License-Expression: MIT OR Apache-2.0\nLicense: other", ("MIT OR Apache-2.0",), True, id="expression"),
        pytest.param("License: BSD", ("BSD",), False, id="a name"),
        pytest.param("License: UNKNOWN", (), False, id="unknown"),
        pytest.param(
            "License: Copyright (c)\n        all of it\nClassifier: License :: OSI Approved :: MIT License\nClassifier: Typing",
            ("MIT License",),
            False,
            id="the text itself, so the classifier",
        ),
        pytest.param("", (), False, id="none"),
    ],
)
def test_a_python_packages_licence(tmp_path: Path, fields: str, licences: tuple[str, ...], is_expression: bool) -> None:
    metadata = f"Metadata-Version: 2.4\nName: Scikit_Learn\nVersion: 1.9.1\n{fields}\n\nName: of the description\n"
    where = "opt/venv/lib/python3.13/site-packages/scikit_learn-1.9.1.dist-info"
    (found,) = installed_packages(
        tree_with(tmp_path, {f"{where}/METADATA": metadata, f"{where}/x/METADATA": "Name: no\nVersion: 1\n"})
    )
    assert (
        InstalledPackage("python", "scikit-learn", "1.9.1", licences=licences, is_expression=is_expression, location=where)
        == found
    )


def test_records_that_are_damaged_name_no_packages(tmp_path: Path) -> None:
    tree = tree_with(tmp_path, {"var/lib/dpkg/status": "\x00\n:::\n\nPackage: x\n", "a-1.dist-info/METADATA": ""})
    assert [] == installed_packages(tree)


def test_os_release_is_read_through_its_link(tmp_path: Path) -> None:
    text = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\n# x\nVERSION_ID=\'13\'\nQUOTED="a\\"b"\n'
    links = (TreeEntry("etc", "dir", 0o755), TreeEntry("etc/os-release", "symlink", 0o777, link="../usr/lib/os-release"))
    found = os_release(tree_with(tmp_path, {"usr/lib/os-release": text}, *links))
    assert {"PRETTY_NAME": "Debian GNU/Linux 13 (trixie)", "ID": "debian", "VERSION_ID": "13", "QUOTED": 'a"b'} == found
    assert {} == os_release(tree_with(tmp_path, {}))
