"""What CUDA_VISIBLE_DEVICES leaves us of a machine's GPUs."""

from __future__ import annotations

import pytest

from runtime.errors import GpuError
from runtime.gpu.gpu import Gpu, MigInstance
from runtime.gpu.visible_devices import restriction, visible_gpus

GPUS = (
    Gpu(0, "GPU-aa11", model="A"),
    Gpu(1, "GPU-aa22", model="A"),
    Gpu(2, "GPU-bb33", model="A", mig_enabled=True, mig=(MigInstance("MIG-1", 1, 0), MigInstance("MIG-2", 2, 0))),
    Gpu(3, "GPU-amd", model="M", vendor="amd"),
)


def left(environ: dict[str, str], gpus: tuple[Gpu, ...] = GPUS) -> list[int]:
    return [gpu.index for gpu in visible_gpus(gpus, environ)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("1,0", [0, 1, 3], id="numbers"),
        pytest.param("GPU-bb", [2, 3], id="the beginning of a UUID"),
        pytest.param("GPU-aa", [3], id="the beginning of two"),
        pytest.param("0,7,1", [0, 3], id="up to the first that means nothing"),
        pytest.param("", [3], id="nothing"),
        pytest.param("-1", [3], id="minus one"),
        pytest.param("NoDevFiles", [3], id="as Slurm says nothing"),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(value: str, expected: list[int]) -> None:
    assert expected == left({"CUDA_VISIBLE_DEVICES": value})


def test_without_a_word_everything_is_ours() -> None:
    assert [0, 1, 2, 3] == left({})
    assert restriction({}) is None


def test_a_slice_leaves_its_gpu_with_that_slice_alone() -> None:
    (gpu, _amd) = visible_gpus(GPUS, {"CUDA_VISIBLE_DEVICES": "MIG-2"})
    assert ("GPU-bb33", ["MIG-2"]) == (gpu.uuid, [one.uuid for one in gpu.mig])


def test_numbers_count_the_gpus_that_cuda_can_open() -> None:
    """With a device cgroup (Slurm) the others have no handle, and CUDA doesn't count them."""
    gpus = (Gpu(0, "GPU-1", model="A", trouble="no permission to use it", counted=False), Gpu(1, "GPU-2", model="A"))
    assert [1] == left({"CUDA_VISIBLE_DEVICES": "0"}, gpus)


def test_numbers_count_sick_gpus_too() -> None:
    """`=2` is GPU 2 whatever ails GPU 1: GPU 3 is another job's."""
    gpus = (*GPUS[:1], Gpu(1, "GPU-sick", model="A", trouble="a bad row of its memory"), *GPUS[2:3], Gpu(3, "GPU-cc", model="A"))
    assert [2] == left({"CUDA_VISIBLE_DEVICES": "2"}, gpus)


def test_a_number_behind_a_lost_gpu_is_not_clear() -> None:
    gpus = (Gpu(0, "GPU-1", model="A"), Gpu(1, "GPU-2", model="A", trouble="lost", counted=None), Gpu(2, "GPU-3", model="A"))
    assert [0] == left({"CUDA_VISIBLE_DEVICES": "0"}, gpus)
    assert [2] == left({"CUDA_VISIBLE_DEVICES": "GPU-3"}, gpus)
    with pytest.raises(GpuError, match="CUDA may count GPU 1 or not: lost") as refused:
        visible_gpus(gpus, {"CUDA_VISIBLE_DEVICES": "2"})
    assert "by UUID" in str(refused.value.hint)


def test_numbers_of_several_models_are_only_clear_in_pci_order() -> None:
    gpus = (Gpu(0, "GPU-1", model="A"), Gpu(1, "GPU-2", model="B"))
    with pytest.raises(GpuError, match="CUDA counts the fastest first") as refused:
        visible_gpus(gpus, {"CUDA_VISIBLE_DEVICES": "1"})
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in str(refused.value.hint)
    assert [1] == left({"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, gpus)
    assert [1] == left({"CUDA_VISIBLE_DEVICES": "GPU-2"}, gpus)


def test_amds_have_their_own_variable() -> None:
    assert [0, 1, 2] == left({"ROCR_VISIBLE_DEVICES": "GPU-none"})
    assert "ROCR_VISIBLE_DEVICES=0" == restriction({"ROCR_VISIBLE_DEVICES": "0"})
