"""`launch` with GPUs and other devices: what a run gets of them, and what is refused before anything is built."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from gpu_box import GpuBox, make_box
from launch_command import Launch

pytestmark = pytest.mark.requires("overlayfs", "userns", "cc")

SEE = """
import ctypes, glob, json, os
cuda, count = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
error = cuda.cuInit(0)
cuda.cuDeviceGetCount(ctypes.byref(count))
nodes = sorted(glob.glob("/dev/nvidia[0-9]*"))
print(json.dumps([error, count.value, nodes, os.path.exists("/dev/accel"), os.environ.get("ACCEL")]))
"""


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[GpuBox]:
    with tempfile.TemporaryDirectory(prefix="launch-gpus-") as directory:
        os.chmod(directory, 0o755)
        made = make_box(Path(directory) / "box", gpus=2)
        made.use(monkeypatch)
        yield made
        made.remove()


def test_a_run_sees_its_leased_gpu_and_the_device_that_it_names(
    launch: Launch, box: GpuBox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits = {"deviceNodes": [{"path": "/dev/accel", "hostPath": "/dev/null"}], "env": ["ACCEL=1"]}
    content = {"cdiVersion": "0.6.0", "kind": "v.com/accel", "devices": [{"name": "x0", "containerEdits": edits}]}
    (tmp_path / "v.json").write_text(json.dumps(content))
    monkeypatch.setenv("LAUNCH_CDI_DIRS", str(tmp_path))
    done = launch("experiment=probe", "gpus=1", 'devices=["v.com/accel=x0"]', "--", "python3", "-c", SEE)
    error, count, nodes, accel, variable = json.loads(done.stdout.strip().splitlines()[-1])
    assert (0, 1, True, "1") == (error, count, accel, variable)
    assert 1 == len(nodes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('image.env.NVIDIA_REQUIRE_CUDA="cuda>=14"', "driver 580.95.05 (CUDA 13.0) is too old for"),
        ('devices=["v.com/accel=x1"]', "no CDI device `v.com/accel=x1`"),
    ],
)
def test_what_cannot_run_here_is_refused_before_anything_is_built(launch: Launch, box: GpuBox, change: str, words: str) -> None:
    done = launch("experiment=probe", "gpus=1", change, check=2)
    assert words in done.stderr
    assert "built" not in done.stderr


def test_a_driver_that_was_upgraded_under_the_kernel_is_told_before_anything_is_built(launch: Launch, box: GpuBox) -> None:
    """NVML answers still: only the files differ."""
    version = box.roots.proc / "proc/driver/nvidia/version"
    version.write_text(version.read_text().replace("580.95.05", "570.11.01"))
    before = launch.runs()
    done = launch("experiment=probe", "gpus=1", check=125)
    assert "driver library 580.95.05" in done.stderr
    assert "kernel module 570.11.01" in done.stderr
    assert before == launch.runs()
