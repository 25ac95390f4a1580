"""Containers on a real GPU: what a program gets of it, as root and as an ordinary user, in images of several kinds."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from machine_root import machine_layer, run_on
from programs import HERE, cuda_work, line

from runtime.gpu.gpu import Gpu
from runtime.gpu.nvidia.driver import find_driver

pytestmark = [pytest.mark.gpu, pytest.mark.requires("overlayfs", "userns", "proc")]

STEPS = "200"

CUDA = """
import ctypes, glob, json, os
cuda = ctypes.CDLL("libcuda.so.1")
error, count, version = cuda.cuInit(0), ctypes.c_int(), ctypes.c_int()
cuda.cuDeviceGetCount(ctypes.byref(count)); cuda.cuDriverGetVersion(ctypes.byref(version))
mapped = [line.split()[-1] for line in open("/proc/self/maps") if "libcuda.so" in line]
try:
    os.mknod("/dev/shm/x", 0o020666, os.makedev(195, 0)); made = True
except OSError:
    made = False
print(json.dumps({"error": error, "count": count.value, "version": version.value, "libcuda": sorted(set(mapped)), "mknod": made,
    "nodes": sorted(glob.glob("/dev/nvidia*")), "groups": os.getgroups(), "shm": os.statvfs("/dev/shm").f_blocks,
    "proc": sorted(os.listdir("/proc/driver/nvidia")) if os.path.isdir("/proc/driver/nvidia") else None,
    "void": os.environ.get("NVIDIA_VISIBLE_DEVICES"), "visible": os.environ.get("CUDA_VISIBLE_DEVICES")}))
"""

TORCH = """
import json, torch
a = torch.rand(2048, 2048, device="cuda")
print(json.dumps({"count": torch.cuda.device_count(), "name": torch.cuda.get_device_name(0), "sum": float((a @ a).sum())}))
"""


def answer(output: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return found


def test_a_program_gets_its_gpu_and_nothing_of_the_others(
    gpus: tuple[Gpu, ...], tmp_path: Path, evidence: dict[str, Any]
) -> None:
    code, output = run_on(tmp_path, gpus[:1], CUDA)
    evidence["output"] = output
    assert code == 0
    seen = answer(output)
    assert (0, 1, False, "void", None) == (seen["error"], seen["count"], seen["mknod"], seen["void"], seen["visible"])
    assert f"/dev/nvidia{gpus[0].minor}" in seen["nodes"]
    assert 1 == len([name for name in seen["nodes"] if name.removeprefix("/dev/nvidia").isdigit()])
    assert seen["proc"] is None or "gpus" in seen["proc"]


def test_without_a_lease_there_is_no_node_and_cuda_fails_cleanly(
    gpus: tuple[Gpu, ...], tmp_path: Path, evidence: dict[str, Any]
) -> None:
    look = "import glob, json; print(json.dumps({'nodes': glob.glob('/dev/nvidia*')}))"
    code, output = run_on(tmp_path, gpus[:1], look, leased=False)
    evidence["output"] = output
    assert (0, []) == (code, answer(output)["nodes"])


def test_torch_computes(gpus: tuple[Gpu, ...], tmp_path: Path, evidence: dict[str, Any]) -> None:
    pytest.importorskip("torch")
    code, output = run_on(tmp_path, gpus[:1], TORCH)
    evidence["output"] = output
    assert code == 0
    assert 1 == answer(output)["count"]


def test_a_step_takes_as_long_as_in_a_bare_process(gpus: tuple[Gpu, ...], tmp_path: Path, evidence: dict[str, Any]) -> None:
    with cuda_work(gpus[0].uuid, "steps", STEPS) as bare:
        outside_ms = float(line(bare))
    work = f"import sys; sys.argv = ['', 'steps', {STEPS!r}]\n{(HERE / 'cuda_work.py').read_text()}"
    code, output = run_on(tmp_path, gpus[:1], work)
    evidence |= {"outside_ms": outside_ms, "output": output}
    assert code == 0
    evidence["inside_ms"] = inside_ms = float(output.split()[-1])
    assert inside_ms < 1.05 * outside_ms + 0.05


def test_nvml_inside_tells_of_one_gpu(gpus: tuple[Gpu, ...], tmp_path: Path, evidence: dict[str, Any]) -> None:
    look = "import pynvml, json; pynvml.nvmlInit(); print(json.dumps({'count': pynvml.nvmlDeviceGetCount()}))"
    code, output = run_on(tmp_path, gpus[:1], look)
    evidence["output"] = output
    assert code == 0


@pytest.mark.parametrize("image", ["with a cache", "without a cache", "read-only"])
def test_the_machines_driver_is_found_without_a_library_path(
    gpus: tuple[Gpu, ...], tmp_path: Path, image: str, evidence: dict[str, Any]
) -> None:
    layer = machine_layer(tmp_path)
    if image == "without a cache":
        (layer / "etc/ld.so.cache").unlink(missing_ok=True)
    again = f"import os, sys; os.execve(sys.executable, [sys.executable, '-c', {CUDA!r}], {{'PATH': '/usr/bin'}})"
    code, output = run_on(tmp_path, gpus[:1], again, readonly_root=image == "read-only")
    evidence["output"] = output
    assert code == 0
    seen = answer(output)
    assert [find_driver().version] == [path.partition(".so.")[2] for path in seen["libcuda"]] or "libcuda.so.1" in seen[
        "libcuda"
    ][0]
    assert (0, 1) == (seen["error"], seen["count"])


@pytest.mark.requires("root", "ordinary-user")
def test_an_ordinary_user_gets_the_same(gpus: tuple[Gpu, ...], tmp_path: Path, evidence: dict[str, Any]) -> None:
    user = pwd.getpwnam("launchtest")
    become = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups"]
    if subprocess.run([*become, "test", "-x", os.path.realpath(sys.executable)], check=False).returncode != 0:
        pytest.skip(f"another user can't start {sys.executable}")
    home = Path("/tmp") / f"launch-gpu-{os.getpid()}"
    home.mkdir()
    os.chown(home, user.pw_uid, user.pw_gid)
    program = (
        f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[2])!r}]\n"
        "from pathlib import Path\nfrom machine_root import run_on\nfrom runtime.gpu.inventory import read_gpus\n"
        f"code, output = run_on(Path({str(home)!r}), read_gpus()[:1], {CUDA!r})\nprint(output)\nsys.exit(code)"
    )
    try:
        done = subprocess.run(
            [*become, sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300, cwd="/"
        )
    finally:
        shutil.rmtree(home, ignore_errors=True)
    evidence |= {"output": done.stdout[-4000:], "errors": done.stderr[-4000:]}
    assert 0 == done.returncode
    assert (0, 1) == (answer(done.stdout)["error"], answer(done.stdout)["count"])


def test_a_gpu_costs_little_at_the_start(gpus: tuple[Gpu, ...], tmp_path: Path, evidence: dict[str, Any]) -> None:
    def seconds(*, leased: bool) -> float:
        started = time.perf_counter()
        assert 0 == run_on(tmp_path, gpus[:1], "pass", leased=leased)[0]
        return time.perf_counter() - started

    seconds(leased=True)
    without, with_gpu = min(seconds(leased=False) for _ in range(5)), min(seconds(leased=True) for _ in range(5))
    evidence |= {"without_ms": round(1000 * without, 1), "with_ms": round(1000 * with_gpu, 1)}
    assert with_gpu - without < 0.15
