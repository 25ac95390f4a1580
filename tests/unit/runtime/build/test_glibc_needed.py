"""What a shared library needs is read from the library, and said when the base doesn't have it."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from wheel_maker import step

from runtime.build.wheels.system_libraries import glibc_warning, needed_glibc
from runtime.build.wheels.wheel_tree import LaidOut
from runtime.layer.tree import TreeEntry

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
