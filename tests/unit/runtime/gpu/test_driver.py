"""The driver's files, gathered from a host root that the test makes: libraries by version, SONAME links, nothing for displays."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from runtime.errors import GpuError
from runtime.gpu.driver import gather
from runtime.gpu.elf_soname import read_soname

VERSION = "580.95.05"


def shared_library(soname: str) -> bytes:
    """The smallest 64-bit ELF file with a DT_SONAME: one load and one dynamic segment over the whole file."""
    strings = b"\0" + soname.encode() + b"\0"
    header_size, entry_size = 64, 56
    dynamic_at = header_size + 2 * entry_size
    dynamic = struct.pack("<QQQQQQ", 5, dynamic_at + 48, 14, 1, 0, 0)
    content = dynamic + strings
    size = dynamic_at + len(content)
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, entry_size, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, size, size, 4096)
    table = struct.pack("<IIQQQQQQ", 2, 6, dynamic_at, dynamic_at, 0, len(dynamic), len(dynamic), 8)
    return header + load + table + content


@pytest.fixture
def host(tmp_path: Path) -> Path:
    libraries = tmp_path / "usr/lib/x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    for stem, soname in (
        ("libcuda", "libcuda.so.1"),
        ("libnvidia-ml", "libnvidia-ml.so.1"),
        ("libnvidia-nvvm", "libnvidia-nvvm.so.4"),
    ):
        (libraries / f"{stem}.so.{VERSION}").write_bytes(shared_library(soname))
    (libraries / f"libGLX_nvidia.so.{VERSION}").write_bytes(shared_library("libGLX_nvidia.so.0"))
    (libraries / "libGL.so.1").write_bytes(shared_library("libGL.so.1"))
    (tmp_path / "usr/bin").mkdir()
    (tmp_path / "usr/bin/nvidia-smi").write_text("#!/bin/sh\n")
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text(
        f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {VERSION}  Tue Sep 23\n"
    )
    return tmp_path


def test_soname_is_read_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "lib").write_bytes(shared_library("libexample.so.7"))
    assert read_soname(tmp_path / "lib") == "libexample.so.7"


def test_what_is_no_library_has_no_soname(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    assert read_soname(tmp_path / "script") is None


def test_compute_libraries_come_with_the_links_that_the_loader_looks_for(host: Path, tmp_path: Path) -> None:
    gathered = gather(tmp_path / "cache", host)
    names = {path.name for path in (gathered / "lib64").iterdir()}
    assert {"libcuda.so.1", "libcuda.so", "libnvidia-ml.so.1", "libnvidia-nvvm.so.4", f"libcuda.so.{VERSION}"} <= names
    assert "libcuda.so.1" == (gathered / "lib64/libcuda.so").readlink().name


def test_nothing_for_displays_and_no_dispatch_library(host: Path, tmp_path: Path) -> None:
    assert not list((gather(tmp_path / "cache", host) / "lib64").glob("libGL*"))


def test_a_version_is_gathered_once(host: Path, tmp_path: Path) -> None:
    first = gather(tmp_path / "cache", host)
    (host / f"usr/lib/x86_64-linux-gnu/libcuda.so.{VERSION}").write_bytes(b"changed")
    assert first == gather(tmp_path / "cache", host)
    assert read_soname(first / f"lib64/libcuda.so.{VERSION}") == "libcuda.so.1"


def test_a_library_that_the_kernel_module_does_not_match_is_refused_with_both_versions(host: Path, tmp_path: Path) -> None:
    (host / "proc/driver/nvidia/version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.11.01  x\n")
    with pytest.raises(GpuError, match=rf"{VERSION}.*570\.11\.01"):
        gather(tmp_path / "cache", host)


def test_a_host_without_driver_says_so(tmp_path: Path) -> None:
    with pytest.raises(GpuError, match="libcuda was not found"):
        gather(tmp_path / "cache", tmp_path / "empty")
