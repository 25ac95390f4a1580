"""What leased GPUs add to a container, from the files, nodes and /proc of a machine that the tests make."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from gpu_box import GpuBox, make_box

from runtime.errors import GpuError
from runtime.gpu.edits import Edits
from runtime.gpu.inject import injection
from runtime.gpu.inventory import read_gpus
from runtime.gpu.nvidia.driver_files import LIBRARY_DIR, capabilities
from runtime.gpu.nvidia.proc_driver import covered_files, kept_directories

pytestmark = pytest.mark.requires("cc")


def made(tmp_path: Path, patch: pytest.MonkeyPatch, **wishes: object) -> GpuBox:
    box = make_box(tmp_path, **wishes)  # type: ignore[arg-type]
    box.use(patch)
    return box


def edits(box: GpuBox, *uuids: str, wanted: str | None = None) -> Edits:
    return injection(read_gpus(), uuids, capabilities=capabilities(wanted), roots=box.roots)


def names(found: Edits) -> set[str]:
    return {mount.target.removeprefix(f"{LIBRARY_DIR}/") for mount in found.mounts if mount.target.startswith(LIBRARY_DIR)}


def nodes(found: Edits) -> list[str]:
    return [node.target for node in found.nodes]


def test_only_the_leased_gpus_node_comes_by_its_minor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = made(tmp_path, monkeypatch, gpus=3, minors=[2, 0, 1])
    found = edits(box, box.uuids[0])
    assert ["/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia2", "/dev/nvidiactl"] == nodes(found)
    assert {"NVIDIA_VISIBLE_DEVICES": "void", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"} == dict(found.env)


def test_compute_libraries_come_under_every_name_that_a_loader_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = made(tmp_path, monkeypatch, gpus=1)
    found = names(edits(box, box.uuids[0]))
    assert {"libcuda.so", "libcuda.so.1", "libcuda.so.580.95.05", "libnvidia-ml.so.1", "libnvidia-nvvm.so.4"} <= found
    assert "libnvidia-gpucomp.so.580.95.05" in found
    assert not {name for name in found if "470.57.02" in name}


def test_no_dispatch_library_of_glvnd_ever_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = made(tmp_path, monkeypatch, gpus=1)
    (box.roots.driver / "usr/lib/x86_64-linux-gnu/libGL.so.580.95.05").write_bytes(b"as drivers had before GLVND")
    found = names(edits(box, box.uuids[0], wanted="all"))
    assert not {name for name in found if name.split(".")[0] in ("libGL", "libEGL", "libGLX", "libOpenGL", "libGLdispatch")}


@pytest.mark.parametrize(
    ("wanted", "there", "absent"),
    [
        (None, set(), {"libnvidia-eglcore.so.580.95.05", "libnvidia-encode.so.1", "libnvidia-ngx.so.1"}),
        ("video", {"libnvidia-encode.so.1", "libnvcuvid.so.1", "vdpau/libvdpau_nvidia.so.1"}, {"libEGL_nvidia.so.0"}),
        ("graphics", {"libEGL_nvidia.so.0", "libGLX_indirect.so.0", "gbm/nvidia-drm_gbm.so"}, {"libnvidia-encode.so.1"}),
        ("all", {"libEGL_nvidia.so.0", "libnvidia-encode.so.1", "libnvidia-ngx.so.1"}, set()),
        ("nonsense", {"libcuda.so.1"}, {"libEGL_nvidia.so.0"}),
    ],
)
def test_other_capabilities_bring_their_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str | None, there: set[str], absent: set[str]
) -> None:
    box = made(tmp_path, monkeypatch, gpus=1)
    found = names(edits(box, box.uuids[0], wanted=wanted))
    assert there <= found
    assert not absent & found


def test_programs_firmware_and_icd_files_come_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = made(tmp_path, monkeypatch, gpus=1)
    found = {mount.target: mount.source for mount in edits(box, box.uuids[0], wanted="graphics").mounts}
    assert box.roots.driver / "usr/bin/nvidia-smi" == found["/usr/bin/nvidia-smi"]
    assert "/lib/firmware/nvidia/580.95.05/gsp_ga10x.bin" in found
    assert box.roots.driver / "usr/share/vulkan/icd.d/nvidia_icd.json" == found["/etc/vulkan/icd.d/nvidia_icd.json"]


def test_a_daemons_socket_comes_only_while_somebody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = made(tmp_path, monkeypatch, gpus=1)
    alive = edits(box, box.uuids[0])
    assert ["/run/nvidia-persistenced/socket"] == [one.target for one in alive.mounts if "persistenced/" in one.target]
    box.sockets["persistenced"].close()
    dead = edits(box, box.uuids[0])
    assert not [one.target for one in dead.mounts if "persistenced/" in one.target]
    assert "no daemon answers" in dead.notes[0]


def test_a_slice_gets_its_gpus_node_and_the_two_of_its_capabilities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = made(tmp_path, monkeypatch, gpus=2, mig={0: ["1g.10gb", None, "3g.40gb"]})
    one = nodes(edits(box, box.mig_uuids(0)[0]))
    other = nodes(edits(box, box.mig_uuids(0)[1]))
    capability = [{name for name in each if "nvidia-caps" in name} for each in (one, other)]
    assert [2, 2] == [len(each) for each in capability]
    assert not capability[0] & capability[1]
    minor = box.state["gpus"][0]["minor"]
    assert f"/dev/nvidia{minor}" in one
    assert f"/dev/nvidia{box.state['gpus'][1]['minor']}" not in one


def test_a_gpu_in_mig_mode_is_no_device_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = made(tmp_path, monkeypatch, gpus=1, mig={0: ["1g.10gb"]})
    with pytest.raises(GpuError, match="in MIG mode"):
        edits(box, box.uuids[0])


def test_a_gpu_that_is_gone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GpuError, match="`GPU-gone` is gone"):
        edits(made(tmp_path, monkeypatch, gpus=1), "GPU-gone")


def test_a_missing_uvm_node_is_named_with_the_command_that_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = made(tmp_path, monkeypatch, gpus=1)
    (box.roots.dev / "dev/nvidia-uvm").unlink()
    with pytest.raises(GpuError, match="nvidia-uvm` is missing") as raised:
        edits(box, box.uuids[0])
    assert "`nvidia-modprobe -u -c=0` makes it" == raised.value.hint


def test_of_proc_only_the_leased_gpu_is_kept_and_params_forbid_to_make_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = made(tmp_path, monkeypatch, gpus=2, mig={1: ["1g.10gb"]})
    files = dict(covered_files(box.roots))
    assert {"params", "version"} <= set(files)
    assert "ModifyDeviceFiles: 0" in files["params"]
    kept = kept_directories(edits(box, box.uuids[0]).nodes, box.roots)
    assert 1 == len(kept)
    assert kept[0].startswith("gpus/0000:")
    of_slice = kept_directories(edits(box, box.mig_uuids(1)[0]).nodes, box.roots)
    assert 1 == len([path for path in of_slice if path.startswith("gpus/")])
    assert 2 == len([path for path in of_slice if path.endswith("/access") and "/mig/gi" in path])


@pytest.mark.requires("root")
def test_a_node_for_a_group_brings_the_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = made(tmp_path, monkeypatch, gpus=0, amd=1)
    for node in box.amd[0].nodes if hasattr(box.amd[0], "nodes") else ("/dev/kfd",):
        path = box.roots.dev / node.lstrip("/")
        os.chown(path, 0, 992)
        path.chmod(0o660)
    assert (992,) == edits(box, box.uuids[0]).groups


def test_an_amd_gpu_gets_its_render_node_and_the_common_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = made(tmp_path, monkeypatch, gpus=0, amd=2)
    found = nodes(edits(box, box.uuids[1]))
    assert "/dev/kfd" in found
    assert 1 == len([name for name in found if "renderD" in name])
    assert not [name for name in found if "nvidia" in name]
