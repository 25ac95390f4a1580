"""What a wheel's libraries want of a system is read from the libraries themselves."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from elf_maker import elf_that_needs
from wheel_maker import step

from runtime.build.wheels.system_libraries import (
    SystemLibraries,
    glibc_of,
    glibc_warning,
    needed_glibc,
    needed_versions,
    needs_of,
    promises_nothing,
)
from runtime.build.wheels.wheel_tree import LaidOut
from runtime.layer.tree import TreeEntry
from runtime.light_dataclasses import replace


def wheel(directory: Path, files: dict[str, bytes]) -> Path:
    path = directory / "demo-1.0-cp311-cp311-linux_x86_64.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_every_version_is_read_with_its_library(tmp_path: Path) -> None:
    file = tmp_path / "x.so"
    file.write_bytes(elf_that_needs({"libm.so.6": ["GLIBC_2.29"], "libc.so.6": ["GLIBC_2.2.5", "GLIBC_2.38"]}))
    expected = {("libm.so.6", "GLIBC_2.29"), ("libc.so.6", "GLIBC_2.2.5"), ("libc.so.6", "GLIBC_2.38")}
    assert expected == needed_versions(file)


@pytest.mark.parametrize(
    ("size", "why"), [(0, "empty"), (5, "short"), (70, "cut in a section header"), (300, "cut in the names")], ids=str
)
def test_a_file_that_is_cut_off_needs_nothing(tmp_path: Path, size: int, why: str) -> None:
    file = tmp_path / "x.so"
    file.write_bytes(elf_that_needs({"libc.so.6": ["GLIBC_2.38"]})[:size])
    assert frozenset() == needed_versions(file), why


def test_the_newest_of_all_libraries_counts(tmp_path: Path) -> None:
    files = {
        "demo/_C.so": elf_that_needs({"libc.so.6": ["GLIBC_2.9", "GLIBC_2.17"]}),
        "demo/lib/libdemo.so.1": elf_that_needs(
            {"libc.so.6": ["GLIBC_2.38"], "libstdc++.so.6": ["GLIBCXX_3.4.9", "GLIBCXX_3.4.32"]}
        ),
        "demo/data.bin": elf_that_needs({"libc.so.6": ["GLIBC_2.99"]}),
    }
    assert SystemLibraries((2, 38), 32) == needs_of(wheel(tmp_path, files), scratch=tmp_path)
    assert ["demo-1.0-cp311-cp311-linux_x86_64.whl"] == [path.name for path in tmp_path.iterdir()]


def test_what_the_wheel_brings_itself_is_not_wanted_of_the_system(tmp_path: Path) -> None:
    files = {
        "demo/_C.so": elf_that_needs({"libstdc++.so.6": ["GLIBCXX_3.4.34"], "libc.so.6": ["GLIBC_2.17"]}),
        "demo/lib/libstdc++.so.6": elf_that_needs({"libc.so.6": ["GLIBC_2.18"]}),
    }
    assert SystemLibraries((2, 18), None) == needs_of(wheel(tmp_path, files), scratch=tmp_path)


def test_a_wheel_without_libraries_wants_nothing(tmp_path: Path) -> None:
    assert SystemLibraries((0, 0)) == needs_of(wheel(tmp_path, {"demo/__init__.py": b""}), scratch=tmp_path)


def test_a_feature_of_the_loader_stands_for_its_release() -> None:
    assert ((2, 36), (2, 17), (0, 0)) == (glibc_of("GLIBC_ABI_DT_RELR"), glibc_of("GLIBC_2.17"), glibc_of("GLIBC_PRIVATE"))


@pytest.mark.parametrize(
    ("filename", "nothing"),
    [
        ("a-1-cp311-cp311-linux_x86_64.whl", True),
        ("a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", False),
        ("a-1-py3-none-any.whl", False),
        ("a-1-linux_x86_64.tar.gz", False),
    ],
)
def test_only_a_plain_linux_tag_promises_nothing(filename: str, nothing: bool) -> None:
    assert nothing == promises_nothing(filename)


PROGRAM = Path(os.path.realpath(sys.executable))


def laid_out(root: Path, *, tag: str) -> LaidOut:
    path = "opt/venv/lib/python3.13/site-packages/demo/x.so.1"
    target = root / path
    target.parent.mkdir(parents=True)
    target.write_bytes(PROGRAM.read_bytes())
    demo = replace(step(), filename=f"demo-1.0-cp313-cp313-{tag}.whl")
    return LaidOut(demo, root, "demo-1.0.dist-info", [TreeEntry(path, "file", 0o644)])


def test_the_newest_symbol_version_is_found() -> None:
    try:
        said = subprocess.run(["objdump", "-T", str(PROGRAM)], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no objdump to judge by")
    versions = [(int(major), int(minor)) for major, minor in re.findall(r"GLIBC_(\d+)\.(\d+)", said)]
    assert max(versions) == needed_glibc(PROGRAM)


def test_a_local_wheel_that_needs_more_is_named_with_its_file(tmp_path: Path) -> None:
    warning = glibc_warning(laid_out(tmp_path, tag="linux_x86_64"), (2, 1))
    assert warning is not None
    assert "`demo 1.0` needs glibc 2." in warning
    assert "demo/x.so.1" in warning


def test_nothing_is_said_when_the_base_has_it_or_the_tag_promises(tmp_path: Path) -> None:
    assert glibc_warning(laid_out(tmp_path / "a", tag="linux_x86_64"), (2, 99)) is None
    assert glibc_warning(laid_out(tmp_path / "b", tag="manylinux_2_28_x86_64"), (2, 1)) is None
    assert glibc_warning(laid_out(tmp_path / "c", tag="linux_x86_64"), None) is None


def test_a_damaged_file_needs_nothing_and_ends(tmp_path: Path) -> None:
    content = bytearray(PROGRAM.read_bytes()[:200_000])
    chance = random.Random(7)
    for _ in range(200):
        damaged = bytearray(content)
        for _ in range(20):
            damaged[chance.randrange(0x40)] = chance.randrange(256)
        path = tmp_path / "x.so"
        path.write_bytes(b"\x7fELF\x02\x01" + bytes(damaged[6:]))
        assert len(needed_glibc(path)) == 2
