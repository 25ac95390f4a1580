"""Where the driver's libraries are found, and what is said when they don't belong to the kernel module."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from gpu_box import make_box
from gpu_box_driver import DECOY_VERSION

from runtime.errors import GpuError
from runtime.gpu.nvidia.driver import find_driver
from runtime.gpu.roots import Roots
from runtime.kernel.ld_cache import CachedLibrary, with_libraries

pytestmark = pytest.mark.requires("cc")
VERSION = "580.95.05"


@pytest.mark.parametrize(
    "directory",
    ["usr/lib64", "usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/nvidia/current", "usr/local/nvidia/lib64", "usr/lib"],
)
def test_the_driver_is_found_in_the_usual_directories(tmp_path: Path, directory: str) -> None:
    box = make_box(tmp_path, gpus=1, library_directory=directory)
    found = find_driver(box.roots)
    assert (VERSION, box.roots.driver / directory) == (found.version, found.directories[0])


def test_an_unusual_directory_is_found_in_the_loaders_cache_of_the_drivers_root(tmp_path: Path) -> None:
    box = make_box(tmp_path, gpus=1, library_directory="opt/vendor/lib")
    for decoy in box.roots.driver.glob(f"usr/lib*/**/*.so.{DECOY_VERSION}"):
        decoy.unlink()
    (box.roots.driver / "etc/ld.so.cache").write_bytes(
        with_libraries(b"", [CachedLibrary("libcuda.so.1", "/opt/vendor/lib/libcuda.so.1")])
    )
    assert box.roots.driver / "opt/vendor/lib" == find_driver(box.roots).directories[0]


def test_the_driver_of_nixos_is_found_behind_its_link(tmp_path: Path) -> None:
    box = make_box(tmp_path, gpus=1, library_directory="nix/store/abc-nvidia-x11-580.95.05/lib")
    for decoy in box.roots.driver.glob(f"usr/lib*/**/*.so.{DECOY_VERSION}"):
        decoy.unlink()
    place = box.roots.driver / "run/opengl-driver/lib"
    place.mkdir(parents=True)
    (place / "libcuda.so.1").symlink_to(box.roots.driver / "nix/store/abc-nvidia-x11-580.95.05/lib/libcuda.so.1")
    assert box.roots.driver / "nix/store/abc-nvidia-x11-580.95.05/lib" == find_driver(box.roots).directories[0]


def test_the_version_of_the_kernel_module_is_meant_where_several_lie_about(tmp_path: Path) -> None:
    box = make_box(tmp_path, gpus=1, library_directory="usr/lib/x86_64-linux-gnu")  # the decoy's directory is searched first
    assert VERSION == find_driver(box.roots).version
    assert DECOY_VERSION in {path.name.removeprefix("libcuda.so.") for path in box.roots.driver.glob("usr/lib64/libcuda.so.*")}


def test_named_directories_are_all_that_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = make_box(tmp_path, gpus=1)
    monkeypatch.setenv("LAUNCH_DRIVER_LIBRARIES", f"{tmp_path}/empty:{box.roots.driver}/usr/lib/x86_64-linux-gnu")
    assert (box.roots.driver / "usr/lib/x86_64-linux-gnu",) == find_driver(box.roots).directories
    monkeypatch.setenv("LAUNCH_DRIVER_LIBRARIES", f"{tmp_path}/empty")
    with pytest.raises(GpuError, match="libcuda was not found"):
        find_driver(box.roots)


def test_the_loader_is_asked_first_and_knows_what_no_list_knows(tmp_path: Path) -> None:
    box = make_box(tmp_path, gpus=1, library_directory="opt/vendor/lib")
    place = box.roots.driver / "opt/vendor/lib"
    code = (
        "from pathlib import Path\n"
        "from runtime.gpu.nvidia.driver import find_driver\nfrom runtime.gpu.roots import Roots\n"
        f"found = find_driver(Roots(proc=Path({str(box.roots.proc)!r}), sys=Path({str(box.roots.sys)!r})))\n"
        "print(found.version, found.directories[0])"
    )
    env = {**os.environ, "LD_LIBRARY_PATH": str(place), "PYTHONPATH": os.getcwd()}
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert f"{VERSION} {place}\n" == said


def test_a_library_that_the_kernel_module_does_not_match_is_refused_with_both_versions(tmp_path: Path) -> None:
    box = make_box(tmp_path, gpus=1, module="570.11.01")
    with pytest.raises(GpuError, match=rf"{VERSION}.*570\.11\.01") as raised:
        find_driver(box.roots)
    assert "reboot" in (raised.value.hint or "")


def test_a_machine_without_driver_says_so(tmp_path: Path) -> None:
    empty = tmp_path / "nothing"
    with pytest.raises(GpuError, match=f"libcuda was not found below `{empty}`"):
        find_driver(Roots(empty, empty, empty, empty))
