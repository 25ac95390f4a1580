"""A number in CUDA_VISIBLE_DEVICES means to launch the GPU that it means to CUDA."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from typing import Any

import pytest
from programs import READY_S

from runtime.gpu.gpu import Gpu
from runtime.gpu.inventory import read_all_gpus
from runtime.gpu.nvidia.driver import find_driver
from runtime.gpu.visible_devices import visible_gpus

pytestmark = pytest.mark.gpu

WHO = """
import ctypes, sys
cuda, count, raw = ctypes.CDLL(sys.argv[1]), ctypes.c_int(), (ctypes.c_ubyte * 16)()
if cuda.cuInit(0) == 0:
    cuda.cuDeviceGetCount(ctypes.byref(count))
for device in range(count.value):
    cuda.cuDeviceGetUuid_v2(raw, device)
    print(bytes(raw).hex())
"""


def test_numbers_count_as_cuda_counts(gpus: tuple[Gpu, ...], evidence: dict[str, Any]) -> None:
    there = [gpu for gpu in read_all_gpus() if gpu.vendor == "nvidia"]
    if any(gpu.mig_enabled or gpu.counted is None for gpu in there):
        pytest.skip("of slices CUDA takes one alone, and of a lost GPU nobody knows")
    library = str(find_driver().directories[0] / "libcuda.so.1")
    for number in range(len(there) + 1):
        chosen = {"CUDA_VISIBLE_DEVICES": str(number), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        said = subprocess.run(
            [sys.executable, "-c", WHO, library],
            env={**os.environ, **chosen},
            capture_output=True,
            text=True,
            check=False,
            timeout=READY_S,
        )
        evidence[str(number)] = said.stdout.split()
        ours = [uuid.UUID(str(gpu.uuid).removeprefix("GPU-")).hex for gpu in visible_gpus(there, chosen)]
        assert ours == evidence[str(number)], said.stderr
