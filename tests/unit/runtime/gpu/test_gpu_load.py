"""What GPUs do now, with an NVML that tells little."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from runtime.gpu import nvml


class _NVMLError(Exception):
    value = 3


def _refuse(*_arguments: object) -> None:
    raise _NVMLError


def _nvml(**calls: object) -> SimpleNamespace:
    return SimpleNamespace(
        NVMLError=_NVMLError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUUID=lambda _handle: b"GPU-1",
        nvmlDeviceGetMemoryInfo=lambda _handle: SimpleNamespace(used=5, total=9),
        nvmlDeviceGetUtilizationRates=lambda _handle: SimpleNamespace(gpu=42),
        **calls,
    )


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        pytest.param(None, {"uuid": "GPU-1", "busy_percent": 42, "used_bytes": 5, "memory_bytes": 9}, id="all of it"),
        pytest.param(
            "nvmlDeviceGetUtilizationRates",
            {"uuid": "GPU-1", "busy_percent": None, "used_bytes": 5, "memory_bytes": 9},
            id="no rate of use (MIG)",
        ),
        pytest.param(
            "nvmlDeviceGetHandleByIndex",
            {"uuid": None, "busy_percent": None, "used_bytes": None, "memory_bytes": None},
            id="a GPU that fell off the bus",
        ),
    ],
)
def test_what_is_not_told_is_none(monkeypatch: pytest.MonkeyPatch, missing: str | None, expected: dict[str, object]) -> None:
    library = _nvml()
    if missing is not None:
        setattr(library, missing, _refuse)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert [{"index": 0, **expected}] == nvml.read_load()
