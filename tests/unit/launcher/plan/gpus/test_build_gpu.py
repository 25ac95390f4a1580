"""Which architecture a command of an image gets while it is built, as `image.gpu` and `RUN --device` ask for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from gpu_box import GpuBox

from launcher.config.spec import Gpu
from launcher.errors import ConfigError, Origin
from launcher.plan.gpus.build_gpu import build_gpu, gpu_of_devices

LINE = Origin("Dockerfile", 3)
Box = Callable[..., GpuBox]

pytestmark = pytest.mark.requires("cc")


def test_one_that_is_named_needs_no_gpu_here() -> None:
    assert "9.0" == build_gpu("9.0", origin=LINE)
    assert "gfx942" == gpu_of_devices(["amd.com/gpu=all"], "gfx942", origin=LINE)


def test_of_several_architectures_the_newest_that_the_run_may_get(gpu_box: Box) -> None:
    gpu_box(model=["NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3"])
    assert "9.0" == build_gpu("auto", origin=LINE)
    assert "8.0" == build_gpu("auto", origin=LINE, wishes=Gpu(model="A100"))


def test_a_dockerfile_gets_those_of_the_vendor_that_it_names(gpu_box: Box) -> None:
    gpu_box(gpus=1, amd=1)
    assert ("9.0", "gfx942") == tuple(
        gpu_of_devices([device], "auto", origin=LINE) for device in ("nvidia.com/gpu=all", "name=amd.com/gpu,required")
    )


def test_without_a_gpu_it_is_refused_with_its_line_unless_it_is_said_to_do_without(gpu_box: Box) -> None:
    gpu_box(installed=False)
    with pytest.raises(ConfigError) as refused:
        gpu_of_devices(["nvidia.com/gpu=all"], "auto", origin=LINE)
    assert ("a command of the image asks for a GPU, and none is usable here", LINE) == (
        refused.value.message,
        refused.value.origin,
    )
    assert "" == gpu_of_devices(["nvidia.com/gpu=all,required=false"], "auto", origin=LINE)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("vendor.com/device=x", "`RUN --device=vendor.com/device=x` is not supported"),
        ("nvidia.com/gpu=all,requird=true", "`RUN --device` has no `requird=true`"),
        ("nvidia.com/gpu=all,required=perhaps", "`RUN --device` has no `required=perhaps`"),
    ],
)
def test_what_a_build_cannot_have_is_refused(flag: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        gpu_of_devices([flag], "9.0", origin=LINE)
    assert message == refused.value.message
