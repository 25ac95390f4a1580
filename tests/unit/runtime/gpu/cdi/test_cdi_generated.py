"""The specification that we write of a machine's GPUs, read again by our own strict reader: the same edits as the direct way."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from gpu_box import GpuBox, make_box

from runtime.errors import GpuError
from runtime.gpu.cdi.document import DeviceName, specification
from runtime.gpu.cdi.files import read_catalogue
from runtime.gpu.cdi.generate import EVERYTHING, nvidia_specification
from runtime.gpu.cdi.resolve import device_edits
from runtime.gpu.cdi.serialize import as_json, as_yaml, document
from runtime.gpu.inject import injection
from runtime.gpu.inventory import read_gpus
from runtime.gpu.nvidia.driver_files import LIBRARY_DIR

pytestmark = pytest.mark.requires("cc")


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GpuBox:
    made = make_box(tmp_path / "box", gpus=2, mig={1: ["1g.10gb", None, "3g.40gb"]})
    made.use(monkeypatch)
    return made


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_a_specification_applied_is_what_a_run_gets_directly(tmp_path: Path, box: GpuBox, suffix: str) -> None:
    spec, _ = nvidia_specification(read_gpus(), hook="/usr/bin/nvidia-cdi-hook")
    (tmp_path / f"nvidia.{suffix}").write_text(as_json(spec) if suffix == "json" else as_yaml(spec))
    catalogue = read_catalogue([tmp_path])
    assert not catalogue.mistakes
    for name, uuid in (("0", box.uuids[0]), ("1:0", box.mig_uuids(1)[0]), (box.mig_uuids(1)[1], box.mig_uuids(1)[1])):
        applied = device_edits([DeviceName("nvidia.com/gpu", name)], catalogue).sorted()
        assert injection(read_gpus(), [uuid], capabilities=EVERYTHING) == applied


def test_without_hooks_libraries_lie_where_glibc_looks_and_the_images_own_path_stays(box: GpuBox) -> None:
    """A CDI runtime replaces variables: LD_LIBRARY_PATH would hide what an image (conda, CUDA) has in it."""
    spec, _ = nvidia_specification(read_gpus(), hook=None)
    assert not [one for one in spec.edits.env if one.startswith("LD_LIBRARY_PATH")]
    targets = {mount.container_path for mount in spec.edits.mounts}
    for directory in (f"/usr/lib/{os.uname().machine}-linux-gnu", "/usr/lib64"):
        assert {f"{directory}/libcuda.so.1", f"{directory}/vdpau/libvdpau_nvidia.so.1"} <= targets
    assert not [target for target in targets if target.startswith(LIBRARY_DIR)]


def test_devices_are_named_by_index_and_uuid_and_a_gpu_in_slices_only_by_those(box: GpuBox) -> None:
    spec, _ = nvidia_specification(read_gpus(), hook=None)
    slices = box.mig_uuids(1)
    assert ["0", box.uuids[0], "1:0", slices[0], "1:2", slices[1], "all"] == [one.name for one in spec.devices]


def test_the_version_is_the_lowest_that_suffices_and_rises_with_what_is_needed(box: GpuBox) -> None:
    assert "0.5.0" == nvidia_specification(read_gpus(), hook=None)[0].version


@pytest.mark.requires("root")
def test_a_node_for_a_group_raises_the_version_and_names_the_group(box: GpuBox) -> None:
    node = box.roots.dev / "dev/dri/renderD128"
    os.chown(node, 0, 992)
    node.chmod(0o660)
    spec, _ = nvidia_specification(read_gpus(), hook=None)
    assert ("0.7.0", (992,)) == (spec.version, spec.devices[0].edits.additional_gids)


def test_the_bytes_are_the_same_every_time_and_what_they_say_is_what_was_meant(box: GpuBox) -> None:
    spec, _ = nvidia_specification(read_gpus(), hook="/usr/bin/nvidia-cdi-hook")
    again, _ = nvidia_specification(read_gpus(), hook="/usr/bin/nvidia-cdi-hook")
    assert (as_yaml(spec), as_json(spec)) == (as_yaml(again), as_json(again))
    assert spec == specification(json.loads(as_json(spec)))
    assert document(spec) == json.loads(as_json(spec))


def test_a_machine_without_a_usable_gpu_has_no_specification(box: GpuBox) -> None:
    box.lose(0)
    box.lose(1)
    with pytest.raises(GpuError, match="no NVIDIA GPU here that can be used"):
        nvidia_specification(read_gpus(), hook=None)
