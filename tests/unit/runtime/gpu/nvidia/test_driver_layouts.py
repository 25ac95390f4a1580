"""Drivers as distributions lay them out, from recorded lists of files (tests/gpu_box/layouts): everything is found and named."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.gpu.nvidia.driver import find_driver
from runtime.gpu.nvidia.driver_files import LIBRARY_DIR, PROGRAM_DIR, capabilities, driver_files
from runtime.gpu.roots import Roots

LAYOUTS = Path(__file__).parents[4] / "gpu_box/layouts"
DEBIAN, RPM = "debian-550.163.01", "rpm-570.86.16"
ICD_OF_RPM = '{"ICD": {"library_path": "/usr/lib64/libGLX_nvidia.so.0", "api_version": "1.4"}}\n'


def laid_out(root: Path, layout: str) -> dict[str, Path]:
    """Target → source of what a container with all capabilities gets of the driver *layout*, made below *root*."""
    for line in (LAYOUTS / f"{layout}.txt").read_text().splitlines():
        name, _, target = line.partition(" -> ")
        if line.startswith("#"):
            continue
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if target:
            path.symlink_to(target)
        else:
            path.write_text(ICD_OF_RPM if name.endswith("icd.x86_64.json") else "")
    roots = Roots(driver=root, dev=root, proc=root, sys=root)
    files, _ = driver_files(find_driver(roots), capabilities("all"))
    return {file.target: file.source.relative_to(root) for file in files}


@pytest.mark.parametrize("layout", [DEBIAN, RPM])
def test_every_library_of_the_driver_comes_with_all_capabilities(tmp_path: Path, layout: str) -> None:
    found = {Path(target).name for target in laid_out(tmp_path, layout) if target.startswith(LIBRARY_DIR)}
    version = layout.rpartition("-")[2]
    there = {path.name for path in tmp_path.rglob("lib*.so*") if path.name.endswith(version)}
    assert there == {name for name in found if name.endswith(version)}
    cores = ("gpucomp", "glcore", "eglcore", "glsi", "tls", "rtcore", "glvkspirv", "pkcs11-openssl3")
    assert {f"libnvidia-{name}.so.{version}" for name in cores} <= found
    assert {"libcuda.so.1", "libnvidia-ml.so.1", "libEGL_nvidia.so.0", "libnvidia-nvvm.so.4", "nvidia-drm_gbm.so"} <= found


@pytest.mark.parametrize("layout", [DEBIAN, RPM])
def test_libraries_are_those_of_64_bit(tmp_path: Path, layout: str) -> None:
    found = laid_out(tmp_path, layout)
    assert not [source for source in found.values() if source.parent == Path("usr/lib")]


@pytest.mark.parametrize("layout", [DEBIAN, RPM])
def test_programs_and_what_tells_loaders_of_the_driver_come_too(tmp_path: Path, layout: str) -> None:
    found = laid_out(tmp_path, layout)
    assert {f"{PROGRAM_DIR}/nvidia-smi", "/usr/share/nvidia/nvoptix.bin", "/etc/OpenCL/vendors/nvidia.icd"} <= set(found)
    of_egl = {"/usr/share/glvnd/egl_vendor.d/10_nvidia.json", "/usr/share/egl/egl_external_platform.d/15_nvidia_gbm.json"}
    assert of_egl <= set(found)
    assert "/etc/vulkan/implicit_layer.d/nvidia_layers.json" in found
    assert 1 == len([target for target in found if target.startswith("/etc/vulkan/icd.d/")])


def test_a_library_that_vulkan_is_told_by_its_path_lies_there(tmp_path: Path) -> None:
    """RPM drivers put /usr/lib64/libGLX_nvidia.so.0 into the file for Vulkan's loader (`sed` in their specs)."""
    found = laid_out(tmp_path, RPM)
    assert Path("usr/lib64/libGLX_nvidia.so.570.86.16") == found["/usr/lib64/libGLX_nvidia.so.0"]


def test_files_for_vulkan_and_egl_are_found_in_etc(tmp_path: Path) -> None:
    for name in ("vulkan/icd.d/nvidia_icd.json", "glvnd/egl_vendor.d/10_nvidia.json"):
        path = tmp_path / "etc" / name
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    found = laid_out(tmp_path, RPM)
    assert Path("etc/vulkan/icd.d/nvidia_icd.json") == found["/etc/vulkan/icd.d/nvidia_icd.json"]
    assert Path("etc/glvnd/egl_vendor.d/10_nvidia.json") == found["/usr/share/glvnd/egl_vendor.d/10_nvidia.json"]
