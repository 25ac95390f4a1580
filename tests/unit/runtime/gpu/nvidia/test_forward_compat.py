"""Whether an image's newer libcuda is used: decided by the note in it, on files with real ELF notes."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runtime.gpu.gpu import Gpu
from runtime.gpu.nvidia.forward_compat import Compat, compat_in, decide

DATA_CENTRE = Gpu(0, "GPU-0", model="NVIDIA H100 80GB HBM3", brand="Nvidia")
CONSUMER = Gpu(0, "GPU-0", model="NVIDIA GeForce RTX 4090", brand="GeForce")


def library(directory: Path, version: str, note: dict[str, Any] | None) -> None:
    directory.mkdir(exist_ok=True)
    path = directory / f"libcuda.so.{version}"
    subprocess.run(["cc", "-shared", "-o", path, "-x", "c", "/dev/null"], check=True)
    if note is not None:
        text, name = json.dumps(note).encode(), b"NVIDIA Corporation\0"
        content = struct.pack("<III", len(name), len(text), 1) + name.ljust(20, b"\0") + text.ljust(-(-len(text) // 4) * 4, b"\0")
        (directory / "note").write_bytes(content)
        section = f".note.cuda.fwd_compatibility={directory / 'note'}"
        subprocess.run(["objcopy", "--add-section", section, path], check=True)
        (directory / "note").unlink()


@pytest.mark.requires("cc")
def test_the_note_in_a_compat_library_is_read(tmp_path: Path) -> None:
    library(tmp_path / "compat", "590.10", {"Format": 1, "CUDA Version": "13.1", "Driver": [535, 550, 580], "Device": [1]})
    assert Compat("590.10", (535, 550, 580), "13.1") == compat_in(tmp_path / "compat")


@pytest.mark.requires("cc")
def test_a_library_without_a_note_has_only_its_version(tmp_path: Path) -> None:
    library(tmp_path / "compat", "560.35.03", None)
    assert Compat("560.35.03") == compat_in(tmp_path / "compat")


def test_two_libraries_or_none_are_no_compat(tmp_path: Path) -> None:
    assert compat_in(tmp_path / "nothing") is None
    for version in ("560.1", "570.1"):
        (tmp_path / f"libcuda.so.{version}").touch()
    assert compat_in(tmp_path) is None


@pytest.mark.parametrize(
    ("compat", "driver", "gpu", "use"),
    [
        pytest.param(Compat("590.10", (535, 580)), "580.95.05", DATA_CENTRE, True, id="the note names the driver's branch"),
        pytest.param(Compat("590.10", (535, 550)), "580.95.05", DATA_CENTRE, False, id="the note doesn't name it"),
        pytest.param(Compat("580.65.06", (580,)), "580.95.05", DATA_CENTRE, False, id="older than the driver"),
        pytest.param(Compat("590.10"), "580.95.05", DATA_CENTRE, True, id="no note and a newer branch"),
        pytest.param(Compat("580.99"), "580.95.05", DATA_CENTRE, False, id="no note and the same branch"),
        pytest.param(Compat("590.10", (580,)), "580.95.05", CONSUMER, False, id="a consumer card"),
    ],
)
def test_when_it_is_used(compat: Compat, driver: str, gpu: Gpu, use: bool) -> None:
    decision = decide(compat, driver, [gpu])
    assert use == decision.use
    assert compat.version in decision.why
