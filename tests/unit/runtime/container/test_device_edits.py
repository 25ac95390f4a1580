"""The edits of devices in a ContainerSpec: what wins over the image, and what stays the image's."""

from __future__ import annotations

from pathlib import Path

from runtime.container.device_edits import apply_edits
from runtime.container.spec import ContainerSpec
from runtime.gpu.edits import Edits
from runtime.gpu.roots import Roots
from runtime.rootfs.mount_spec import DeviceNode


def container(**env: str) -> ContainerSpec:
    return ContainerSpec("c", (), Path("/o"), ("true",), env=env)


def test_the_images_environment_wins_but_for_which_gpus_are_seen() -> None:
    edits = Edits(env=(("CUDA_DEVICE_ORDER", "PCI_BUS_ID"), ("NVIDIA_VISIBLE_DEVICES", "void")))
    env = apply_edits(container(NVIDIA_VISIBLE_DEVICES="all", CUDA_DEVICE_ORDER="FASTEST_FIRST"), edits).env
    assert {"CUDA_DEVICE_ORDER": "FASTEST_FIRST", "NVIDIA_VISIBLE_DEVICES": "void"} == env


def test_the_drivers_directory_comes_behind_the_images_and_a_compat_directory_before_it() -> None:
    edits = Edits(library_dirs=("/usr/local/nvidia/lib64",))
    spec = apply_edits(
        container(LD_LIBRARY_PATH="/a:/usr/local/nvidia/lib64:/b"), edits, loader_first=("/usr/local/cuda/compat",)
    )
    assert "/usr/local/cuda/compat:/a:/usr/local/nvidia/lib64:/b" == spec.env["LD_LIBRARY_PATH"]
    assert ("/usr/local/cuda/compat", "/usr/local/nvidia/lib64") == spec.loader_dirs


def test_nvidias_proc_is_covered_wherever_a_node_of_it_comes_from(tmp_path: Path) -> None:
    place = tmp_path / "proc/driver/nvidia"
    (place / "gpus/0000:18:00.0").mkdir(parents=True)
    (place / "gpus/0000:9a:00.0").mkdir()
    (place / "gpus/0000:18:00.0/information").write_text("Model: x\nDevice Minor: \t 3\n")
    (place / "gpus/0000:9a:00.0/information").write_text("Device Minor: 0\n")
    (place / "params").write_text("ModifyDeviceFiles: 1\n")
    roots = Roots(proc=tmp_path)
    (cover,) = apply_edits(container(), Edits(nodes=(DeviceNode(Path("/x"), "/dev/nvidia3"),)), roots=roots).proc_covers
    assert ((("params", "ModifyDeviceFiles: 0\n"),), ("gpus/0000:18:00.0",)) == (cover.files, cover.kept)
    assert () == apply_edits(container(), Edits(nodes=(DeviceNode(Path("/x"), "/dev/kvm"),)), roots=roots).proc_covers


def test_groups_and_notes_are_kept_together() -> None:
    spec = apply_edits(apply_edits(container(), Edits(groups=(992,), notes=("a",))), Edits(groups=(44,), notes=("b",)))
    assert ((44, 992), ("a", "b")) == (spec.host_groups, spec.notes)
