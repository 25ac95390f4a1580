"""How many GPUs a run gets of a machine's, and what is refused before anything is built. Against the box of `gpu_box.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from gpu_box import GpuBox, make_box

from launcher.config.spec import ExperimentSpec, Gpu
from launcher.errors import ConfigError, Origin
from launcher.plan.gpus.gpu_request import gpu_share
from runtime.light_dataclasses import replace

SPEC = ExperimentSpec(name="x", command=("true",))

pytestmark = pytest.mark.requires("cc")


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., GpuBox]:
    def make(**facts: object) -> GpuBox:
        made = make_box(tmp_path / "box", **facts)  # type: ignore[arg-type]
        made.use(monkeypatch)
        return made

    return make


def where(key: str) -> Origin:
    return Origin(file="conf/x.yaml", line=len(key))


def share(gpus: float | str, **wishes: object) -> tuple[float, int]:
    found = gpu_share(replace(SPEC, gpus=gpus, gpu=Gpu(**wishes)), where)  # type: ignore[arg-type]
    return (found.count, found.present)


def refusal(gpus: float | str, **wishes: object) -> tuple[str, str]:
    with pytest.raises(ConfigError) as refused:
        share(gpus, **wishes)
    assert refused.value.origin is not None
    return (refused.value.message, refused.value.hint or "")


def test_without_gpus_nobody_is_asked(box: Callable[..., GpuBox]) -> None:
    box(gpus=2).fail("nvmlInitWithFlags", 999)
    assert share(0) == (0, 0)


@pytest.mark.parametrize(("asked", "expected"), [(1, (1, 4)), (4, (4, 4)), (0.5, (0.5, 4)), (2.0, (2, 4)), ("all", (4, 4))])
def test_what_is_there_is_given(box: Callable[..., GpuBox], asked: float | str, expected: tuple[float, int]) -> None:
    box(gpus=4)
    assert share(asked) == expected


def test_more_than_there_are(box: Callable[..., GpuBox]) -> None:
    box(gpus=2)
    assert refusal(3) == ("not enough GPUs: 3 requested, 2 present", "`gpus=2` takes all of this machine")


@pytest.mark.parametrize("asked", [1, "all"])
def test_a_machine_without(box: Callable[..., GpuBox], asked: int | str) -> None:
    box(installed=False)
    message, hint = refusal(asked)
    assert message == f"not enough GPUs: {asked} requested, 0 present"
    assert "`gpus=0` runs without" in hint


def test_all_means_all_that_fulfil_the_wishes(box: Callable[..., GpuBox]) -> None:
    box(model=["NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3"])
    assert share("all", model="H100") == (2, 2)


def test_a_wish_that_is_not_fulfilled_is_named_with_what_is_there(box: Callable[..., GpuBox]) -> None:
    box(model=["NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3"])
    message, hint = refusal(2, model="H100", memory=60 << 30)
    assert message == "not enough GPUs: 2 requested, 1 here with `gpu.model: H100`, `gpu.memory: 60GiB`"
    assert "NVIDIA A100-SXM4-80GB" in hint


def test_gpus_of_two_vendors_are_not_mixed(box: Callable[..., GpuBox]) -> None:
    box(gpus=2, amd=1)
    assert share(2) == (2, 3)
    assert share("all", model="NVIDIA") == (2, 2)
    assert share("all", model="AMD") == (1, 1)
    assert refusal("all") == (
        "3 GPUs requested, and only 2 here are of one vendor",
        "`gpu.model` picks a kind, for example `gpu.model=NVIDIA`",
    )


def test_a_compute_capability_is_cudas(box: Callable[..., GpuBox]) -> None:
    box(gpus=1, amd=1)
    assert share("all", capability="8.0") == (1, 1)


def test_a_sick_gpu_is_not_counted_and_is_named(box: Callable[..., GpuBox]) -> None:
    box(gpus=2).lose(1)
    message, hint = refusal(2)
    assert message == "not enough GPUs: 2 requested, 1 of 2 usable"
    assert "1 × lost: it has fallen off the bus" in hint
    assert share(1) == (1, 1)


@pytest.mark.parametrize(
    ("part", "instead"), [pytest.param(0.33, "0.3", id="a third"), pytest.param(0.01, "0.05", id="next to nothing")]
)
def test_an_odd_part_is_refused_with_one_that_works(box: Callable[..., GpuBox], part: float, instead: str) -> None:
    box(gpus=1)
    message, hint = refusal(part)
    assert message == f"`gpus: {part}`: a part of a GPU is a multiple of 0.05"
    assert f"`gpus={instead}`" in hint
    share(float(instead))


def test_a_mig_instance_by_its_profile(box: Callable[..., GpuBox]) -> None:
    box(gpus=2, mig={1: ["1g.10gb", None, "3g.40gb"]})
    assert share(1) == (1, 1)  # the whole one
    assert share(1, mig="any") == (1, 2)
    assert share(1, mig="3g.40gb|2g.20gb") == (1, 1)
    assert "`gpu.mig: 7g.80gb`" in refusal(1, mig="7g.80gb")[0]


def test_a_machine_of_mig_instances_gives_one_of_them(box: Callable[..., GpuBox]) -> None:
    box(gpus=1, mig={0: ["1g.10gb", "1g.10gb", "3g.40gb"]})
    assert share(1) == (1, 3)
    assert share(1, memory=30 << 30) == (1, 1)


def test_a_process_can_use_one_mig_instance_only(box: Callable[..., GpuBox]) -> None:
    box(gpus=1, mig={0: ["1g.10gb", "1g.10gb"]})
    assert "2 MIG instances requested: a process can use only one" == refusal(2)[0]
    assert "divided" in refusal(0.5)[0]


@pytest.mark.parametrize(
    ("visible", "count"),
    [
        pytest.param("1,3", 2, id="indexes"),
        pytest.param("", 0, id="none"),
        pytest.param("-1", 0, id="none, as some write it"),
        pytest.param("NoDevFiles", 0, id="none, as Slurm writes it"),
        pytest.param("0,9,1", 1, id="nothing counts after an unknown one"),
        pytest.param("0,0", 1, id="one named twice is one"),
    ],
)
def test_cuda_visible_devices_bounds_what_may_be_used(
    box: Callable[..., GpuBox], monkeypatch: pytest.MonkeyPatch, visible: str, count: int
) -> None:
    """A batch system's allocation, or a colleague's agreement."""
    box(gpus=4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    if count:
        assert share("all") == (count, count)
    message, _ = refusal(count + 1)
    assert message == f"not enough GPUs: {count + 1} requested, {count} here with `CUDA_VISIBLE_DEVICES={visible}`"


def test_cuda_visible_devices_by_uuid(box: Callable[..., GpuBox], monkeypatch: pytest.MonkeyPatch) -> None:
    made = box(gpus=2, mig={1: ["1g.10gb", "3g.40gb"]})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", made.uuids[0])
    assert share("all") == (1, 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(made.mig_uuids(1)))
    assert share(1) == (1, 2)
