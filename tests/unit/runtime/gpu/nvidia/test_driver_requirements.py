"""NVIDIA_REQUIRE_* expressions, with the strings that real images have."""

from __future__ import annotations

import pytest

from runtime.gpu.gpu import Gpu
from runtime.gpu.nvidia.requirements import Has, demands, is_met, wanted_cuda

CUDA_13_1 = (
    "cuda>=13.1 brand=unknown,driver>=535,driver<536 brand=grid,driver>=535,driver<536 brand=tesla,driver>=535,driver<536 "
    "brand=nvidia,driver>=535,driver<536 brand=tesla,driver>=550,driver<551"
)
CUDA_12_2 = (
    "cuda>=12.2 brand=tesla,driver>=470,driver<471 brand=unknown,driver>=470,driver<471 brand=geforce,driver>=470,driver<471 "
    "brand=tesla,driver>=525,driver<526"
)


def has(cuda: tuple[int, int], driver: str, *, model: str = "NVIDIA H100 80GB HBM3", brand: str | None = "Nvidia") -> Has:
    return Has.of(Gpu(0, "GPU-0", model=model, brand=brand, cuda=cuda, driver=driver, capability="9.0"))


@pytest.mark.parametrize(
    ("expression", "on", "met"),
    [
        (CUDA_12_2, has((13, 0), "580.159.04"), True),
        (CUDA_13_1, has((13, 0), "580.159.04"), False),
        (CUDA_13_1, has((12, 2), "535.104.05"), True),
        (CUDA_13_1, has((12, 2), "535.104.05", model="NVIDIA GeForce RTX 4090", brand="GeForce"), False),
        (CUDA_12_2, has((11, 4), "470.57.02", model="NVIDIA GeForce RTX 3090", brand="GeForce"), True),
        ("cuda>=12", has((12, 0), "525.60"), True),
        ("cuda=12.0", has((12, 0), "525.60"), True),
        ("cuda>=12.1,driver>=530", has((12, 4), "550.54.14"), True),
        ("cuda>=12.1,driver>=560", has((12, 4), "550.54.14"), False),
        ("driver<500", has((13, 0), "580.95.05"), False),
        ("arch>=9.0", has((12, 0), "550"), True),
        ("arch>=10.0", has((12, 0), "550"), False),
        ("brand!=geforce", has((12, 0), "550"), True),
        ("", has((11, 0), "450"), True),
        (CUDA_13_1, Has(cuda="12.2", driver="535.1"), True),
    ],
)
def test_an_expression_is_met_or_not(expression: str, on: Has, met: bool) -> None:
    assert met == is_met(expression, on)


@pytest.mark.parametrize("expression", ["foo=1", "cuda", "cuda>=x", "brand>=tesla", "cuda=>12"])
def test_what_is_no_expression_is_an_error(expression: str) -> None:
    with pytest.raises(ValueError, match="is"):
        is_met(expression, has((12, 0), "550"))


@pytest.mark.parametrize(
    ("env", "expressions"),
    [
        ({"NVIDIA_REQUIRE_CUDA": "cuda>=12", "NVIDIA_REQUIRE_DRIVER": "driver>=5"}, ("cuda>=12", "driver>=5")),
        ({"NVIDIA_REQUIRE_JETPACK": "x", "NVIDIA_REQUIRE_JETPACK_HOST_MOUNTS": "y"}, ()),
        ({"NVIDIA_REQUIRE_CUDA": "cuda>=12", "NVIDIA_DISABLE_REQUIRE": "1"}, ()),
        ({"NVIDIA_REQUIRE_CUDA": "cuda>=12", "NVIDIA_DISABLE_REQUIRE": "false"}, ("cuda>=12",)),
        ({"CUDA_VERSION": "12.4.1"}, ("cuda>=12.4",)),
        ({"NVIDIA_REQUIRE_CUDA": "cuda>=11", "CUDA_VERSION": "12.4.1"}, ("cuda>=11",)),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, ()),
    ],
)
def test_what_an_image_demands_is_in_its_environment(env: dict[str, str], expressions: tuple[str, ...]) -> None:
    assert expressions == demands(env)


def test_the_newest_cuda_that_is_named() -> None:
    assert (13, 1) == wanted_cuda(["cuda>=12.8", CUDA_13_1])
    assert wanted_cuda(["driver>=500"]) is None
