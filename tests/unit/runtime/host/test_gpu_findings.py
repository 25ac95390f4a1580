"""What `launch doctor` says of GPUs."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from gpu_box import GpuBox

from runtime.host.gpus import gpus
from runtime.host.machine import Machine

Make = Callable[..., GpuBox]


def test_healthy_gpus_are_counted_by_model_with_their_driver(gpu_box: Make, machine: Callable[..., Machine]) -> None:
    gpu_box(gpus=2)
    found = gpus(machine())
    assert (True, "2 × NVIDIA H100 80GB HBM3, driver 580.95.05, CUDA 13.0") == (found.ok, found.detail)


def test_one_in_trouble_is_named(gpu_box: Make, machine: Callable[..., Machine]) -> None:
    gpu_box(gpus=2).lose(1)
    found = gpus(machine())
    assert not found.ok
    assert "GPU 1: lost" in found.detail


def test_a_missing_uvm_node_has_the_command_that_makes_it(gpu_box: Make, machine: Callable[..., Machine]) -> None:
    box = gpu_box(gpus=1)
    (box.roots.dev / "dev/nvidia-uvm").unlink()
    found = gpus(machine())
    assert "CUDA fails with error 999" in found.detail
    assert "nvidia-modprobe -u -c=0" == found.command


def test_a_mismatch_names_who_holds_the_old_module(gpu_box: Make, machine: Callable[..., Machine]) -> None:
    box = gpu_box(gpus=1, module="570.86.10")
    # What an ordinary user can make in its place does not open, except as a path.
    held = os.open(box.roots.dev / "dev/nvidia0", os.O_PATH)
    found = gpus(machine())
    os.close(held)
    assert f"the module is in use by pids {os.getpid()}" in found.advice


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        pytest.param({"installed": False}, "no NVIDIA driver, and no AMD GPU", id="no driver"),
        pytest.param({"gpus": 0}, "the NVIDIA driver finds none", id="no GPU"),
        pytest.param({"loaded": False}, "kernel module is not loaded", id="not loaded"),
    ],
)
def test_none_have_a_reason(gpu_box: Make, machine: Callable[..., Machine], wishes: dict[str, object], words: str) -> None:
    gpu_box(**wishes)
    assert words in gpus(machine()).detail


@pytest.mark.parametrize(
    ("file", "words"),
    [
        pytest.param("dev/dxg", "WSL2 reaches them through `/dev/dxg`", id="WSL2"),
        pytest.param("etc/nv_tegra_release", "Jetson", id="Jetson"),
    ],
)
def test_a_platform_that_reaches_its_gpus_otherwise_is_named(
    gpu_box: Make, machine: Callable[..., Machine], file: str, words: str
) -> None:
    box = gpu_box(installed=False)
    path = (box.roots.dev if file.startswith("dev/") else box.roots.driver) / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    found = gpus(machine())
    path.unlink()
    assert (False, True) == (found.ok, words in found.detail)


def test_an_mps_server_is_named_since_runs_do_not_join_it(gpu_box: Make, machine: Callable[..., Machine]) -> None:
    box = gpu_box(gpus=1)
    pipe = box.roots.driver / "tmp/nvidia-mps/control"
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    found = gpus(machine())
    assert (True, True) == (found.ok, "an MPS server runs here" in found.detail)
