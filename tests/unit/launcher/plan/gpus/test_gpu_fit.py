"""What is refused and what is told before anything is built, for an image and a torch on this driver and these GPUs."""

from __future__ import annotations

import pytest

from launcher.config.spec import ExperimentSpec
from launcher.config.spec import Gpu as Wishes
from launcher.errors import ConfigError
from launcher.plan.gpus.gpu_fit import check_fit, torch_build
from launcher.plan.launch_plan import Lock, LockedWheel
from runtime.gpu.gpu import Gpu
from runtime.light_dataclasses import replace

H100 = Gpu(0, "GPU-0", model="NVIDIA H100 80GB HBM3", brand="Nvidia", capability="9.0", cuda=(13, 0), driver="580.95.05")
OLD = replace(H100, cuda=(12, 2), driver="535.104.05")
V100 = replace(H100, model="Tesla V100", capability="7.0")
B200 = replace(H100, model="NVIDIA B200", capability="10.0")
SPEC = ExperimentSpec(name="x", command="true", gpus=1)


def lock(**versions: str) -> Lock:
    wheels = tuple(LockedWheel(name.replace("_", "-"), version, "0" * 64, "x.whl") for name, version in versions.items())
    return Lock("3.13.5", "x86_64-manylinux_2_41", wheels, "sha256:" + "0" * 64, "resolved")  # type: ignore[arg-type]


def fit(gpu: Gpu, *, env: dict[str, str] | None = None, of: Lock | None = None, spec: ExperimentSpec = SPEC) -> tuple[str, ...]:
    return check_fit(spec, env or {}, of, [gpu], lambda key: None)


def test_an_image_whose_demands_are_met_says_nothing() -> None:
    assert () == fit(H100, env={"NVIDIA_REQUIRE_CUDA": "cuda>=12.8"}, of=lock(torch="2.9.0+cu128"))


def test_a_newer_minor_version_is_a_warning_with_both_versions() -> None:
    (warning,) = fit(H100, env={"NVIDIA_REQUIRE_CUDA": "cuda>=13.1"})
    assert "needs CUDA 13.1" in warning
    assert "driver 580.95.05 (CUDA 13.0)" in warning
    assert "minor-version compatibility" in warning


def test_a_newer_major_version_is_refused_with_both_versions_and_what_helps() -> None:
    with pytest.raises(ConfigError) as raised:
        fit(OLD, env={"CUDA_VERSION": "13.1.0"})
    assert "driver 535.104.05 (CUDA 12.2) is too old for `bootstrap:debian/trixie`, which needs CUDA 13.1" in raised.value.message
    assert "driver 580 or newer" in raised.value.message
    hint = raised.value.hint or ""
    assert all(words in hint for words in ("CUDA 12.x or older", "upgrade the driver", "gpu.require=ignore"))


def test_a_driver_branch_that_the_image_supports_itself_is_enough() -> None:
    assert () == fit(OLD, env={"NVIDIA_REQUIRE_CUDA": "cuda>=13.1 brand=tesla,driver>=535,driver<536"})


def test_a_demand_that_is_not_about_cuda_is_refused_with_the_expression() -> None:
    with pytest.raises(ConfigError, match="driver<500"):
        fit(H100, env={"NVIDIA_REQUIRE_DRIVER": "driver<500"})


def test_the_override_and_nvidias_own_variable_leave_the_check_out() -> None:
    env = {"NVIDIA_REQUIRE_CUDA": "cuda>=14"}
    assert () == fit(H100, env=env, spec=replace(SPEC, gpu=Wishes(require="ignore")))
    assert () == fit(H100, env=env, spec=replace(SPEC, env={"NVIDIA_DISABLE_REQUIRE": "true"}))


def test_a_demand_that_nobody_understands_is_told_and_refuses_nothing() -> None:
    assert "can't be read" in fit(H100, env={"NVIDIA_REQUIRE_CUDA": "sunshine"})[0]


def test_a_torch_for_a_newer_major_is_refused_with_the_key_that_helps() -> None:
    with pytest.raises(ConfigError, match=r"too old for torch 2\.9\.0\+cu130, which needs CUDA 13\.0") as raised:
        fit(OLD, of=lock(torch="2.9.0+cu130"))
    assert "`image.cuda=auto`" in (raised.value.hint or "")


def test_a_torch_for_a_newer_minor_is_a_warning() -> None:
    assert "torch 2.9.0+cu128 needs CUDA 12.8" in fit(OLD, of=lock(torch="2.9.0+cu128"))[0]


def test_a_torch_without_cuda_cannot_use_a_gpu() -> None:
    assert "it can't use GPUs" in fit(H100, of=lock(torch="2.9.0+cpu"))[0]


@pytest.mark.parametrize(
    ("gpu", "version", "told"),
    [(V100, "2.9.0+cu130", True), (V100, "2.9.0+cu128", False), (B200, "2.6.0+cu126", True), (B200, "2.9.0+cu128", False)],
    ids=["too old for CUDA 13", "old, and still served", "too new for CUDA 12.6", "new"],
)
def test_a_gpu_that_a_build_has_no_code_for_is_told(gpu: Gpu, version: str, told: bool) -> None:
    assert told == any("compute capability" in warning for warning in fit(gpu, of=lock(torch=version)))


@pytest.mark.parametrize(
    ("versions", "cuda"),
    [
        ({"torch": "2.9.0", "nvidia_cuda_runtime_cu12": "12.8.90"}, (12, 8)),
        ({"torch": "2.11.0", "nvidia_cuda_runtime": "13.0.96"}, (13, 0)),
        ({"torch": "2.4.0+cu118"}, (11, 8)),
    ],
)
def test_the_cuda_of_a_torch_is_in_its_version_or_in_the_runtime_beside_it(
    versions: dict[str, str], cuda: tuple[int, int]
) -> None:
    found = torch_build(lock(**versions))
    assert found is not None
    assert cuda == found.cuda


def test_nothing_is_known_of_a_torch_that_says_nothing_and_of_a_lock_without_one() -> None:
    assert torch_build(lock(torch="2.9.0")) is None
    assert torch_build(lock(numpy="2.0")) is None
    assert torch_build(None) is None


def test_amd_gpus_are_not_asked_for_cuda() -> None:
    assert () == fit(replace(H100, vendor="amd", cuda=None), env={"NVIDIA_REQUIRE_CUDA": "cuda>=14"})
