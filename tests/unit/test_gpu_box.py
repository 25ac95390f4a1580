"""The machine with GPUs that isn't there (tests/gpu_box.py), as nvidia-ml-py and the dynamic loader see it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gpu_box import GpuBox
from gpu_box_driver import make_nodes

from runtime.gpu.elf import read_soname

_PRELUDE = """
import ctypes, json, os, sys
ctypes.CDLL(os.environ["LAUNCH_NVML_LIBRARY"])
import pynvml as n
n.nvmlInit()
h = [n.nvmlDeviceGetHandleByIndex(i) for i in range(n.nvmlDeviceGetCount())]
def say(value): print(json.dumps(value), flush=True)
def code(call):
    try: call()
    except n.NVMLError as error: return error.value
"""


def ask(program: str) -> list[Any]:
    """What a process with the real nvidia-ml-py says."""
    done = subprocess.run([sys.executable, "-c", _PRELUDE + program], capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_nvidia_ml_py_reads_identity_memory_and_place(gpu_box: Callable[..., GpuBox]) -> None:
    box = gpu_box(gpus=2)
    names, uuids, minors, addresses, memory, versions = ask("""
say([n.nvmlDeviceGetName(x) for x in h]); say([n.nvmlDeviceGetUUID(x) for x in h])
say([n.nvmlDeviceGetMinorNumber(x) for x in h]); say([n.nvmlDeviceGetPciInfo(x).busId for x in h])
v1, v2 = n.nvmlDeviceGetMemoryInfo(h[0]), n.nvmlDeviceGetMemoryInfo(h[0], version=n.nvmlMemory_v2)
say([v1.total, v2.total, v1.used - v2.used == v2.reserved])
say([n.nvmlSystemGetDriverVersion(), n.nvmlSystemGetCudaDriverVersion_v2()])
""")
    assert ["NVIDIA H100 80GB HBM3"] * 2 == names
    assert list(box.uuids) == uuids
    assert [1, 0] == minors
    assert ["00000000:18:00.0", "00000000:2A:00.0"] == addresses
    assert [85520809984, 85520809984, True] == memory
    assert ["580.95.05", 13000] == versions


def test_slices_have_holes_in_their_indexes(gpu_box: Callable[..., GpuBox]) -> None:
    box = gpu_box(gpus=1, mig={0: ["1g.10gb", None, "3g.40gb"]})
    box.add_process(0, 777, mig=2)
    found, processes = ask("""
codes = [code(lambda: n.nvmlDeviceGetMigDeviceHandleByIndex(h[0], i)) for i in range(n.nvmlDeviceGetMaxMigDeviceCount(h[0]))]
say(codes)
say([[p.pid for p in n.nvmlDeviceGetComputeRunningProcesses(n.nvmlDeviceGetMigDeviceHandleByIndex(h[0], i))] for i in (0, 2)])
""")
    assert [None, 6, None, 6, 6, 6, 6] == found
    assert [[], [777]] == processes


def test_a_running_process_sees_its_world_move(gpu_box: Callable[..., GpuBox]) -> None:
    box = gpu_box(gpus=2)
    program = """
events = n.nvmlEventSetCreate(); n.nvmlDeviceRegisterEvents(h[0], n.nvmlEventTypeXidCriticalError, events); say("ready")
say(n.nvmlEventSetWait_v2(events, 20000).eventData); sys.stdin.readline()
say([code(lambda: n.nvmlDeviceGetMemoryInfo(x)) for x in h])
"""
    with subprocess.Popen(
        [sys.executable, "-c", _PRELUDE + program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert '"ready"\n' == process.stdout.readline()
        box.fire_xid(0, 79)
        assert "79\n" == process.stdout.readline()
        box.lose(1)
        process.stdin.write("go on\n")
        process.stdin.flush()
        assert "[null, 15]\n" == process.stdout.readline()


def test_cuda_counts_the_gpus_whose_nodes_open(gpu_box: Callable[..., GpuBox]) -> None:
    """Without the state file, as in a container: the library carries its own copy."""
    box = gpu_box(gpus=3)
    (box.roots.dev / "dev/nvidia1").unlink()
    env = {name: value for name, value in os.environ.items() if name != "FAKE_NVML_CONFIG"}
    program = f"""
import ctypes
cuda = ctypes.CDLL({str(box.roots.driver / "usr/lib/x86_64-linux-gnu/libcuda.so.1")!r})
count, uuid = ctypes.c_int(), (ctypes.c_ubyte * 16)()
assert cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(count)) == 0
for device in range(count.value):
    cuda.cuDeviceGetUuid(uuid, device); print(bytes(uuid).hex())
"""
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60, check=True)
    expected = [uuid.removeprefix("GPU-").replace("-", "") for uuid in (box.uuids[0], box.uuids[2])]
    assert expected == done.stdout.split()


def test_the_driver_root_has_real_libraries_and_an_older_driver_beside_them(gpu_box: Callable[..., GpuBox]) -> None:
    box = gpu_box(gpus=1)
    libraries = box.roots.driver / "usr/lib/x86_64-linux-gnu"
    assert "libnvidia-nvvm.so.4" == read_soname(libraries / "libnvidia-nvvm.so.580.95.05")
    assert (libraries / "libcuda.so").resolve() == libraries / "libcuda.so.580.95.05"
    assert (box.roots.driver / "usr/lib64/libcuda.so.470.57.02").exists()
    for name in ("nvidia0", "nvidiactl", "nvidia-uvm"):
        assert stat.S_ISCHR((box.roots.dev / "dev" / name).stat().st_mode)
    with socket.socket(socket.AF_UNIX) as client:
        here = os.open(box.roots.driver / "run/nvidia-persistenced", os.O_PATH)
        client.connect(f"/proc/self/fd/{here}/socket")
        os.close(here)


@pytest.mark.requires("ordinary-user")
def test_an_ordinary_user_gets_character_devices_too(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        made = False
        try:
            os.setgid(65534)
            os.setuid(65534)
            root = make_nodes(tmp_path, ["nvidia0"])
            made = stat.S_ISCHR((root / "dev/nvidia0").stat().st_mode)
            shutil.rmtree(root)
        finally:
            os._exit(0 if made else 1)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
