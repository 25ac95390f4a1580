"""Which GPUs a run may take."""

from __future__ import annotations

import pytest

from launcher.config.spec import Gpu as Wishes
from launcher.errors import LaunchError
from launcher.schedule.placement import free_first, suitable
from runtime.gpu.inventory import Gpu

GIB = 1 << 30
H100 = Gpu(0, "GPU-h", model="NVIDIA H100 80GB HBM3", memory_bytes=80 * GIB, capability="9.0")
A100 = Gpu(1, "GPU-a", model="NVIDIA A100-SXM4-40GB", memory_bytes=40 * GIB, capability="8.0", pids=(4242,))
SICK = Gpu(2, "GPU-s", model="NVIDIA H100 80GB HBM3", memory_bytes=80 * GIB, capability="9.0", trouble="it fell off the bus")
BOX = (H100, A100, SICK)


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        pytest.param(Wishes(), ["GPU-h", "GPU-a"], id="healthy ones"),
        pytest.param(Wishes(model="H100"), ["GPU-h"], id="model"),
        pytest.param(Wishes(model="H100|A100"), ["GPU-h", "GPU-a"], id="models"),
        pytest.param(Wishes(memory=60 * GIB), ["GPU-h"], id="memory"),
        pytest.param(Wishes(capability="8.6"), ["GPU-h"], id="capability as numbers"),
    ],
)
def test_wishes_choose(wishes: Wishes, expected: list[str]) -> None:
    assert expected == [gpu.uuid for gpu in suitable(BOX, wishes, 1)]


def test_too_few_are_refused_with_what_is_there() -> None:
    with pytest.raises(LaunchError) as refused:
        suitable(BOX, Wishes(model="H100"), 2)
    assert "2 requested, 1 present" in refused.value.message
    assert "it fell off the bus" in str(refused.value.hint)


def test_a_gpu_with_a_foreign_process_waits() -> None:
    assert ("GPU-h",) == free_first([H100, A100])
