"""`image.cuda: auto` takes the torch that this driver and these GPUs run: by the real uv, from a directory of builds."""

from __future__ import annotations

from pathlib import Path

import pytest
from gpu_box import make_box
from wheel_project import Project, make_wheel, names

from launcher.plan.requirements.choose_lock import _fits_driver
from launcher.plan.requirements.torch_variant import CudaMachine, cuda_machine

BUILDS = ("2.9.0+cpu", "2.9.0+cu126", "2.9.0+cu128", "2.9.0+cu130", "2.10.0+cu130")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    for build in BUILDS:
        make_wheel(made.wheels, "torch", build)
    return made


def use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, cuda: str, capability: list[int] | None = None) -> None:
    box = make_box(tmp_path / "box", gpus=1, driver=driver, cuda=cuda)
    if capability is not None:
        box.state["gpus"][0]["capability"] = capability
        box.save()
    box.use(monkeypatch)


@pytest.mark.requires("cc")
@pytest.mark.parametrize(
    ("driver", "cuda", "torch"),
    [("580.95.05", "13.0", "2.10.0+cu130"), ("550.54.14", "12.4", "2.9.0+cu128"), ("535.104.05", "12.2", "2.9.0+cu128")],
    ids=["CUDA 13", "CUDA 12.4", "CUDA 12.2"],
)
def test_the_newest_build_that_the_driver_runs_is_locked(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, cuda: str, torch: str
) -> None:
    use(tmp_path, monkeypatch, driver, cuda)
    lock = project.resolve("torch", cuda="auto")
    assert ([f"torch {torch}"], torch.partition("+")[2]) == (names(lock), lock.torch)


@pytest.mark.requires("cc")
def test_after_an_upgrade_of_the_driver_the_question_is_asked_again(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(tmp_path, monkeypatch, "550.54.14", "12.4")
    assert "cu128" == project.resolve("torch", cuda="auto").torch
    assert "recorded" == project.resolve("torch", cuda="auto").source
    use(tmp_path / "later", monkeypatch, "580.95.05", "13.0")
    later = project.resolve("torch", cuda="auto")
    assert ("resolved", "cu130") == (later.source, later.torch)


@pytest.mark.parametrize("cuda", ["12.6", "12.8", "cpu"])
def test_a_variant_that_is_named_is_taken_from_a_directory_too(project: Project, cuda: str) -> None:
    variant = cuda if cuda == "cpu" else f"cu{cuda.replace('.', '')}"
    assert [f"torch 2.9.0+{variant}"] == names(project.resolve("torch", cuda=cuda))


@pytest.mark.parametrize(
    ("machine", "backend", "told", "runs"),
    [
        (CudaMachine(), "auto", None, {"cpu", "cu126", "cu128", "cu130"}),
        (CudaMachine("580.95.05", 9.0), "auto", "580.95.05", {"cpu", "cu126", "cu128", "cu130"}),
        (CudaMachine("580.95.05", 7.0), "auto", "579", {"cpu", "cu126", "cu128"}),
        (CudaMachine("580.95.05", 6.1), "cu126", "579", {"cpu", "cu126"}),
        (CudaMachine("580.95.05", 12.0), "auto", "580.95.05", {"cpu", "cu128", "cu130"}),
        (CudaMachine("535.104.05", 8.0), "auto", "535.104.05", {"cpu", "cu126", "cu128"}),
        (CudaMachine("470.57.02", 8.0), "auto", "470.57.02", {"cpu"}),
    ],
    ids=["no driver", "Hopper", "Volta", "Pascal", "Blackwell", "older driver", "driver before CUDA 12"],
)
def test_old_gpus_and_old_drivers_have_their_builds(machine: CudaMachine, backend: str, told: str | None, runs: set[str]) -> None:
    assert (backend, told) == (machine.backend, machine.driver_for_uv)
    assert runs == {variant for variant in ("cpu", "cu126", "cu128", "cu130") if machine.runs(variant)}


@pytest.mark.requires("cc")
def test_the_machine_is_its_loaded_driver_and_its_weakest_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(tmp_path, monkeypatch, "580.95.05", "13.0")
    assert CudaMachine("580.95.05", 9.0) == cuda_machine()


@pytest.mark.requires("cc")
def test_a_lock_of_another_machine_is_used_only_where_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(tmp_path, monkeypatch, "550.54.14", "12.4")
    assert {"cu128": True, "cu130": False, "cpu": False} == {one: _fits_driver(one) for one in ("cu128", "cu130", "cpu")}
