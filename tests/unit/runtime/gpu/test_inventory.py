"""The inventory of a machine with GPUs that isn't there (tests/gpu_box.py), read by the real nvidia-ml-py in real processes."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gpu_box import GpuBox

from runtime.errors import GpuError
from runtime.gpu.gpu import GpuProcess
from runtime.gpu.inventory import read_all_gpus, read_gpus, read_load
from runtime.gpu.roots import Roots

Make = Callable[..., GpuBox]
H100 = "NVIDIA H100 80GB HBM3"


def test_each_gpu_tells_what_it_is_and_where(gpu_box: Make) -> None:
    box = gpu_box(gpus=2)
    first, second = read_gpus()
    assert box.uuids == (first.uuid, second.uuid)
    assert (H100, "9.0", "580.95.05", (13, 0)) == (first.model, first.capability, first.driver, first.cuda)
    assert (1, 0) == (first.minor, second.minor)
    assert (0, "0-31,64-95") == (first.numa_node, first.cpus)
    assert (1, "32-63,96-127") == (second.numa_node, second.cpus)
    assert ("/dev/dri/card0", "/dev/dri/renderD128") == first.render_nodes
    assert [(None, ())] * 2 == [(gpu.trouble, gpu.warnings) for gpu in (first, second)]


def test_memory_in_use_is_without_the_drivers_reserve(gpu_box: Make) -> None:
    gpu_box(gpus=1).add_process(0, 4242, used_bytes=3 << 30)
    (gpu,) = read_gpus()
    assert 3 << 30 == gpu.used_bytes
    assert (GpuProcess(4242, 3 << 30),) == gpu.processes
    assert (4242,) == gpu.pids


def test_a_driver_before_510_has_neither_the_newest_calls_nor_the_second_reading_of_memory(gpu_box: Make) -> None:
    gpu_box(gpus=1, model="Tesla T4", driver="470.57.02", cuda="11.4").add_process(0, 4242, used_bytes=1 << 30)
    (gpu,) = read_gpus()
    assert (GpuProcess(4242, 1 << 30),) == gpu.processes
    assert (1 << 30) + 450_887_680 == gpu.used_bytes
    assert ((11, 4), 31, ()) == (gpu.cuda, gpu.temperature_c, gpu.warnings)


def test_a_driver_that_fills_wrong_structures_is_asked_by_the_older_call_and_named(gpu_box: Make) -> None:
    box = gpu_box(gpus=1, driver="535.54.03", cuda="12.2")
    for pid in (100, 200, 300):
        box.add_process(0, pid, used_bytes=pid << 20)
    (gpu,) = read_gpus()
    assert [(100, 100 << 20), (200, 200 << 20), (300, 300 << 20)] == [(one.pid, one.used_bytes) for one in gpu.processes]
    assert "driver 535.54.03 can tell wrong processes" in gpu.warnings[0]


def test_slices_are_found_behind_a_hole(gpu_box: Make) -> None:
    box = gpu_box(gpus=2, mig={1: [None, "1g.10gb", None, "3g.40gb"]})
    box.add_process(1, 777, mig=3)
    whole, sliced = read_gpus()
    assert (False, ()) == (whole.mig_enabled, whole.mig)
    assert sliced.mig_enabled
    assert [(1, "1g.10gb"), (3, "3g.40gb")] == [(one.index, one.profile) for one in sliced.mig]
    assert box.mig_uuids(1) == tuple(one.uuid for one in sliced.mig)
    assert (GpuProcess(777, 1 << 30, mig=sliced.mig[1].uuid),) == sliced.processes


def test_a_process_is_listed_once_with_what_it_computes_first(gpu_box: Make) -> None:
    box = gpu_box(gpus=1)
    box.add_process(0, 1, kind="graphics")
    box.add_process(0, 2, kind="mps", used_bytes=None)
    box.add_process(0, 1)
    (gpu,) = read_gpus()
    assert [(1, "compute", 1 << 30), (2, "mps", None)] == [(one.pid, one.kind, one.used_bytes) for one in gpu.processes]
    assert (1, 2) == gpu.pids


def test_what_a_gpu_does_not_tell_has_a_reason(gpu_box: Make) -> None:
    box = gpu_box(gpus=1)
    box.fail("nvmlDeviceGetCudaComputeCapability", 999)
    (gpu,) = read_gpus()
    assert gpu.capability is None
    assert "Unknown Error" == dict(gpu.unknown)["capability"]
    assert gpu.trouble is None


@pytest.mark.parametrize(
    ("code", "words"),
    [
        pytest.param(4, "no permission to use it", id="no permission"),
        pytest.param(10, "does not answer the driver in time", id="time-out"),
        pytest.param(15, "lost: it has fallen off the bus", id="lost"),
        pytest.param(16, "nvidia-smi --gpu-reset -i 1", id="reset required"),
        pytest.param(19, "another client has it for itself", id="in use"),
        pytest.param(27, "not ready yet", id="not ready"),
        pytest.param(999, "NVML gives no access to it: Unknown Error", id="unknown"),
    ],
)
def test_a_gpu_without_a_handle_is_named_with_the_reason_and_hides_no_other(gpu_box: Make, code: int, words: str) -> None:
    box = gpu_box(gpus=3)
    box.fail("nvmlDeviceGetHandleByIndex_v2", code, gpu=1)
    gpus = read_gpus()
    assert box.uuids == tuple(gpu.uuid for gpu in gpus), "the kernel still lists it"
    assert (None, None) == (gpus[0].trouble, gpus[2].trouble)
    assert words in str(gpus[1].trouble)


def test_a_gpu_that_gets_lost_later_keeps_its_name(gpu_box: Make) -> None:
    box = gpu_box(gpus=2)
    box.fail("nvmlDeviceGetMemoryInfo_v2", 15, gpu=0)
    box.fail("nvmlDeviceGetMemoryInfo", 15, gpu=0)
    first, second = read_gpus()
    assert (box.uuids[0], H100) == (first.uuid, first.model)
    assert str(first.trouble).startswith("lost")
    assert second.trouble is None


def test_a_gpu_that_hangs_hides_no_other_and_is_not_waited_for_again(gpu_box: Make) -> None:
    box = gpu_box(gpus=3)
    box.delay("*", 600_000, gpu=1)
    gpus = read_gpus(timeout_s=1.5)
    assert [None, None] == [gpus[0].trouble, gpus[2].trouble]
    assert "it hangs: the driver did not answer for it within 1.5 s" in str(gpus[1].trouble)
    assert box.uuids[1] == gpus[1].uuid
    begun = time.monotonic()
    assert "it hangs" in str(read_gpus(timeout_s=30)[1].trouble)
    assert time.monotonic() - begun < 10


def test_several_gpus_that_hang_are_found_out_at_once(gpu_box: Make) -> None:
    box = gpu_box(gpus=4)
    for index in (0, 2):
        box.delay("nvmlDeviceGetUUID", 600_000, gpu=index)
    told = [gpu.trouble or "well" for gpu in read_gpus(timeout_s=1.5)]
    assert [True, False, True, False] == [words.startswith("it hangs") for words in told]


def test_a_process_that_dies_while_it_reads_is_not_the_end(gpu_box: Make) -> None:
    gpu_box(gpus=2).crash("nvmlDeviceGetUUID", gpu=1)
    first, second = read_gpus()
    assert first.trouble is None
    assert "the process that asked for it died" in str(second.trouble)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        pytest.param(9, "its kernel module is not loaded", id="not loaded"),
        pytest.param(12, "no NVIDIA driver here: libnvidia-ml.so.1 was not found", id="no library"),
        pytest.param(999, "NVML answers `Unknown Error`", id="unknown"),
        pytest.param(7, "NVML refuses to start with its error 7", id="any other"),
    ],
)
def test_an_nvml_that_does_not_come_up_says_why_in_a_sentence_of_its_own(gpu_box: Make, code: int, words: str) -> None:
    gpu_box(gpus=1).fail("nvmlInitWithFlags", code)
    with pytest.raises(GpuError, match=words) as refused:
        read_gpus()
    assert refused.value.hint


def test_an_upgraded_driver_is_refused_with_both_versions(gpu_box: Make) -> None:
    gpu_box(gpus=1, driver="580.95.05", module="570.86.10")
    with pytest.raises(GpuError, match=r"library 580\.95\.05, kernel module 570\.86\.10") as refused:
        read_gpus()
    assert "reboot" in str(refused.value.hint)


def test_a_library_without_its_module_is_refused(gpu_box: Make) -> None:
    gpu_box(gpus=1, loaded=False)
    with pytest.raises(GpuError, match="kernel module is not loaded"):
        read_gpus()


def test_a_control_node_that_a_cgroup_forbids_is_named(gpu_box: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from runtime.gpu.nvidia import nvml

    def refuse(path: object, *_arguments: object) -> int:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(path))

    box = gpu_box(gpus=1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        refused = nvml._refusal(nvml.UNKNOWN, box.roots)
    assert f"a device cgroup forbids `{box.roots.dev}/dev/nvidiactl`" in refused.message


def test_an_nvml_that_never_starts_is_given_up(gpu_box: Make) -> None:
    gpu_box(gpus=1).delay("nvmlInitWithFlags", 600_000)
    with pytest.raises(GpuError, match=r"NVML did not answer within 0\.3 s"):
        read_gpus(timeout_s=0.3)


def test_a_driver_below_another_root_is_found_there(gpu_box: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    box = gpu_box(gpus=1, library_directory="usr/lib64")
    monkeypatch.delenv("LAUNCH_NVML_LIBRARY")
    assert list(box.uuids) == [gpu.uuid for gpu in read_gpus()]


def test_a_named_library_that_cannot_be_loaded_is_refused(gpu_box: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu_box(gpus=1)
    monkeypatch.setenv("LAUNCH_NVML_LIBRARY", "/nowhere/libnvidia-ml.so.1")
    with pytest.raises(GpuError, match=r"LAUNCH_NVML_LIBRARY: `/nowhere/libnvidia-ml\.so\.1` can't be loaded"):
        read_gpus()


def test_a_machine_without_a_driver_has_no_gpus(gpu_box: Make) -> None:
    gpu_box(installed=False)
    assert () == read_gpus()


def test_a_driver_without_gpus_has_none(gpu_box: Make) -> None:
    gpu_box(gpus=0)
    assert () == read_gpus()


def test_models_may_differ(gpu_box: Make) -> None:
    gpu_box(model=[H100, "NVIDIA GeForce RTX 4090", "Tesla V100-SXM2-16GB"])
    told = [(gpu.brand, gpu.capability, gpu.warnings) for gpu in read_gpus()]
    assert [("NVIDIA", "9.0", ()), ("GeForce", "8.9", ()), ("Tesla", "7.0", ())] == told


def test_a_refused_nvml_does_not_hide_amds(gpu_box: Make) -> None:
    box = gpu_box(gpus=1, module="570.86.10", amd=1)
    nvidia, amd = read_gpus()
    assert (box.uuids[0], "nvidia") == (nvidia.uuid, nvidia.vendor)
    assert "library 580.95.05, kernel module 570.86.10" in str(nvidia.trouble)
    assert ("amd", 1, None) == (amd.vendor, amd.index, amd.trouble)


def test_an_xid_in_the_kernel_log_is_a_warning_unless_a_program_caused_it(gpu_box: Make) -> None:
    box = gpu_box(gpus=2)
    (box.roots.dev / "dev/kmsg").write_text(
        "6,1801,934722000,-;some other line\n"
        "4,1802,934722100,-;NVRM: Xid (PCI:0000:18:00): 74, pid=4242, name=python3, NVLink: fatal error\n"
        "4,1803,934722200,-;NVRM: Xid (PCI:0000:2a:00): 31, pid=4242, name=python3, MMU Fault\n"
    )
    first, second = read_gpus()
    assert "Xid 74 at" in first.warnings[0]
    assert () == second.warnings
    (box.roots.dev / "dev/kmsg").unlink()


def test_an_xid_of_a_slice_is_its_gpus(gpu_box: Make) -> None:
    box = gpu_box(gpus=2, mig={0: ["1g.10gb"]})
    (box.roots.dev / "dev/kmsg").write_text(
        "4,1802,934722100,-;NVRM: Xid (PCI:0000:18:00 GPU-I:05 GPU-CI:00): 94, pid=4242, name=python3, Contained\n"
        "4,1803,934722200,-;NVRM: Xid (PCI:0000:2a:00 GPU-I:01): 95, Uncontained\n"
    )
    assert ["Xid 94", "Xid 95"] == [gpu.warnings[0][:6] for gpu in read_gpus()]
    (box.roots.dev / "dev/kmsg").unlink()


def test_a_number_is_the_gpu_that_cuda_means_also_behind_a_sick_one(gpu_box: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    box = gpu_box(gpus=4)
    box.state["gpus"][1]["compute_mode"] = 2
    box.save()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    assert [box.uuids[2]] == [gpu.uuid for gpu in read_gpus()]
    box.lose(0)
    with pytest.raises(GpuError, match="CUDA may count GPU 0 or not: lost"):
        read_gpus()


def test_a_gpu_that_only_the_kernel_lists_is_missed_where_its_node_is_here(gpu_box: Make) -> None:
    box = gpu_box(gpus=3)
    uuid = box.state["gpus"].pop(1)["uuid"]
    box.save()
    gpus = read_gpus()
    assert [box.uuids[0], box.uuids[1], uuid] == [gpu.uuid for gpu in gpus]
    assert "the kernel module lists it and NVML does not" in str(gpus[2].trouble)
    assert (None, None, 2) == (gpus[0].trouble, gpus[1].trouble, gpus[2].index)
    (box.roots.dev / f"dev/nvidia{gpus[2].minor}").unlink()
    assert [None, None] == [gpu.trouble for gpu in read_gpus()]


def test_roots_can_be_given(gpu_box: Make, tmp_path: Path) -> None:
    box = gpu_box(gpus=1)
    assert [0] == [gpu.numa_node for gpu in read_all_gpus(roots=box.roots)]
    assert [None] == [gpu.numa_node for gpu in read_all_gpus(roots=Roots(sys=tmp_path / "nothing", dev=box.roots.dev))]


def test_the_load_names_slices_too(gpu_box: Make) -> None:
    box = gpu_box(gpus=1, mig={0: ["1g.10gb"]})
    whole, one = read_load()
    assert (0, box.uuids[0], None) == (whole["index"], whole["uuid"], whole["busy_percent"])
    assert ("0:0", box.mig_uuids(0)[0]) == (one["index"], one["uuid"])
