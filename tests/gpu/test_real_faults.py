"""Faults of a real GPU that harm nothing: no reset, no change of MIG mode or clocks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from programs import READY_S, cuda_work, ends
from test_real_load import said, watched

from runtime.gpu.gpu import Gpu
from runtime.gpu.nvidia.xid import meaning

pytestmark = pytest.mark.gpu

OUT_OF_MEMORY = "CUDA error 2"
ANOTHER = "470.57.02"


@pytest.mark.requires("cc")
def test_a_library_of_another_version_is_told_as_such(gpus: tuple[Gpu, ...], tmp_path: Path, evidence: dict[str, Any]) -> None:
    """As after an upgrade without a reboot. The library is the made machine's, which refuses as the real one does."""
    from gpu_box import make_box

    box = make_box(tmp_path / "box", gpus=1, driver=ANOTHER)
    box.fail("nvmlInitWithFlags", 18)
    mismatched = {"LAUNCH_NVML_LIBRARY": box.env["LAUNCH_NVML_LIBRARY"], "FAKE_NVML_CONFIG": box.env["FAKE_NVML_CONFIG"]}
    ask = "from runtime.gpu.inventory import read_gpus\nread_gpus()"
    env = {**os.environ, **mismatched, "PYTHONPATH": ":".join([str(Path(__file__).parents[2]), *filter(None, sys.path)])}
    try:
        done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False, timeout=60, env=env)
    finally:
        box.remove()
    evidence["says"] = done.stderr[-500:]
    expected = f"the NVIDIA driver was upgraded under the running kernel: library {ANOTHER}, kernel module {gpus[0].driver}"
    assert expected in done.stderr


def test_an_illegal_address_is_an_xid_of_the_programs(gpus: tuple[Gpu, ...], evidence: dict[str, Any]) -> None:
    uuid = str(gpus[0].uuid)
    with watched(uuid, every_s=0.5) as lines:
        for document in said(lines, READY_S):
            if "loads" in document:  # it listens now
                break
        with cuda_work(uuid, "wrong-address") as worker:
            code, errors = ends(worker)
            evidence |= {"code": code, "errors": errors}
            assert code != 0
            xids = [(one["uuid"], one["xid"]) for one in said(lines, 5.0) if "xid" in one]
    evidence["xids"] = xids
    if not xids:
        pytest.skip("this driver tells of no Xid by events (the report has the mask of those that it supports)")
    assert {uuid} == {told for told, _ in xids}
    assert {13, 31} & {xid for _, xid in xids}
    assert all(meaning(xid).by_program for _, xid in xids)


def test_too_much_memory_ends_the_program_and_nothing_else(gpus: tuple[Gpu, ...], evidence: dict[str, Any]) -> None:
    with cuda_work(gpus[0].uuid, "exhaust") as worker:
        code, errors = ends(worker)
    evidence |= {"code": code, "errors": errors}
    assert OUT_OF_MEMORY in errors
    with cuda_work(gpus[0].uuid, "burn", "0.5") as after:
        assert ends(after)[0] == 0
