"""The shipped ResNet trains in an image, and a local wheel that cannot load on the image's base is not taken.

What a fresh Debian machine has: the Debian archive, and an index of Python packages. The archive's own torch (240 MB, CPU only)
trains in every run; the one that the experiment names brings CUDA (3 GB to download, 10 GB on disk), so that only its plan is
made, unless LAUNCH_TESTS_LARGE says that there is time.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from elf_maker import elf_that_needs
from gpu_box import GpuBox
from launch_command import Launch

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns")]

DEBIANS_TORCH = (
    "image=debian",
    "image.requirements=[]",
    "image.apt=[python3-torch]",
    "+env.PYTHONPATH=/usr/lib/python3/dist-packages",  # the virtual environment does not look there
    "+env.USE_LIBUV=0",  # Debian builds torch without libuv; that also breaks its `torchrun --standalone`
)


@pytest.fixture
def shipped(session_home: Path, tmp_path: Path) -> Launch:
    """Away from any project: only what is shipped."""
    return Launch(session_home, tmp_path)


@pytest.mark.requires("patience")
def test_two_processes_train_an_epoch_together(shipped: Launch) -> None:
    small = ("gpus=0", "params.epochs=1", "+params.depth=8", "cpus=2", "processes=2")
    done = shipped("experiment=resnet", *small, *DEBIANS_TORCH, "--", "python3", "train.py", timeout_s=600)
    assert "2 × cpu" in done.stdout
    record = shipped.record()
    assert "FINISHED" == record["status"]
    assert {"loss", "val_accuracy", "lr"} <= set(record["metrics"])
    assert {"model.pt", "results.json"} == {path.name for path in Path(record["run_dir"], "outputs").iterdir()}


# torchrun in a build of torch that lacks libuv and asks for it nevertheless.
TORCHRUN = """\
import functools, sys
import torch.distributed as dist
from torch.distributed import run
from torch.distributed.elastic.rendezvous import c10d_rendezvous_backend as backend
dist.TCPStore = backend.TCPStore = functools.partial(dist.TCPStore, use_libuv=False)
run.main(sys.argv[1:])
"""
WORKER = "import os; os.write(1, f\"rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']}\\n\".encode())"


@pytest.mark.requires("cc")
@pytest.mark.requires("patience")
def test_torchrun_starts_a_worker_for_each_gpu_without_being_told(
    shipped: Launch, tmp_path: Path, gpus_in_reach: Callable[..., GpuBox]
) -> None:
    gpus_in_reach(gpus=3)
    for name, content in (("torchrun.py", TORCHRUN), ("worker.py", WORKER)):
        (tmp_path / "code").mkdir(exist_ok=True)
        (tmp_path / "code" / name).write_text(content)
    code = (f"code.root={tmp_path / 'code'}", "command=python3 torchrun.py worker.py", "gpus=3", "cpus=2")
    done = shipped("experiment=resnet", *DEBIANS_TORCH, *code, timeout_s=600)
    assert {f"rank {rank} of 3" for rank in range(3)} <= set(done.stdout.splitlines())


def test_the_plan_takes_a_torch_that_the_base_can_load(shipped: Launch) -> None:
    planned = json.loads(shipped("plan", "experiment=resnet", "gpus=0", "--json", timeout_s=600).stdout)
    lock = planned["plan"]["lock"]
    assert lock["python"].startswith("3.11.")
    torch = next(wheel["filename"] for wheel in lock["wheels"] if wheel["name"] == "torch")
    assert "-manylinux" in torch, "a build that promises nothing may need a newer glibc than bookworm has"


@pytest.mark.skipif("LAUNCH_TESTS_LARGE" not in os.environ, reason="downloads 3 GB of CUDA and needs 10 GB: LAUNCH_TESTS_LARGE=1")
def test_the_experiment_trains_as_it_is(shipped: Launch) -> None:
    shipped("experiment=resnet", "gpus=0", "params.epochs=1", timeout_s=1800)
    record = shipped.record()
    assert "FINISHED" == record["status"]
    assert 1 == record["params"]["epochs"]
    assert {"loss", "val_accuracy", "lr"} <= set(record["metrics"])


class LocalWheels:
    """A directory of wheels, named to pip as a person would, and no index."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()

    def add(self, version: str, tag: str, files: dict[str, bytes]) -> None:
        info = f"launch_fit_probe-{version}.dist-info"
        contents = {
            **files,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: launch-fit-probe\nVersion: {version}\n".encode(),
            f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
        }
        record = "".join(f"{name},,\n" for name in (*contents, f"{info}/RECORD"))
        with zipfile.ZipFile(self.directory / f"launch_fit_probe-{version}-{tag}.whl", "w") as archive:
            for name, content in {**contents, f"{info}/RECORD": record.encode()}.items():
                archive.writestr(name, content)

    def environ(self) -> dict[str, str]:
        return {"PIP_FIND_LINKS": str(self.directory), "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}


@pytest.fixture
def wheels(tmp_path: Path) -> LocalWheels:
    """With one that wants a glibc of the future, and says it fits any Linux."""
    made = LocalWheels(tmp_path / "wheels")
    library: dict[str, Any] = {"launch_fit_probe/_C.so": elf_that_needs({"libc.so.6": ["GLIBC_2.99"]})}
    made.add("1.0+local", "cp313-cp313-linux_x86_64", {"launch_fit_probe/__init__.py": b"BUILD = 'local'\n", **library})
    return made


PROBE = ("experiment=probe", "image.requirements=[launch-fit-probe]", "image=debian")
PRINT_BUILD = ("--", "python3", "-c", "import launch_fit_probe; print(launch_fit_probe.BUILD)")


def test_another_file_is_taken_for_a_local_wheel_that_cannot_load(launch: Launch, wheels: LocalWheels) -> None:
    wheels.add("1.0", "py3-none-any", {"launch_fit_probe/__init__.py": b"BUILD = 'public'\n"})
    launch.environ |= wheels.environ()
    done = launch(*PROBE, *PRINT_BUILD)
    assert "public\n" == done.stdout
    assert (
        "warning: `launch_fit_probe-1.0+local-cp313-cp313-linux_x86_64.whl` needs glibc 2.99 and the base has 2.41: "
        "`launch_fit_probe-1.0-py3-none-any.whl` is taken instead\n"
    ) in done.stderr


def test_nothing_is_built_where_no_file_can_load(launch: Launch, wheels: LocalWheels) -> None:
    launch.environ |= wheels.environ()
    refused = launch(*PROBE, *PRINT_BUILD, check=2)
    assert "needs glibc 2.99 and the base has 2.41, and nothing else fits" in refused.stderr
    assert "hint: " in refused.stderr
