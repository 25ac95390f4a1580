"""Acceptance on a machine with a real GPU: `pytest -m gpu tests/gpu`. Everywhere else each test is skipped, with the reason.

Nothing here needs a network: a container's root file system is this machine's own /usr, read-only. What is seen is written as
JSON (`LAUNCH_GPU_REPORT`, else gpu-report.json in the temporary directory): passed, failed or skipped, with the evidence, so that
the made machine of tests/gpu_box.py can be corrected from it.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import GpuError
from runtime.gpu.gpu import Gpu

_REPORT: dict[str, Any] = {"tests": {}}


def _why_not() -> str | None:
    from runtime.gpu.inventory import read_gpus

    try:
        gpus = read_gpus()
    except GpuError as error:
        return error.message
    if not any(gpu.vendor == "nvidia" for gpu in gpus):
        return "there is no NVIDIA GPU here"
    return gpus[0].trouble if all(gpu.trouble for gpu in gpus) else None


@pytest.fixture(scope="session")
def gpus() -> tuple[Gpu, ...]:
    """The GPUs of this machine."""
    from runtime.gpu.inventory import read_gpus

    reason = _why_not()
    if reason is not None:
        pytest.skip(reason)
    return tuple(gpu for gpu in read_gpus() if gpu.vendor == "nvidia" and gpu.trouble is None)


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """What a test saw, for the report."""
    seen: dict[str, Any] = {}
    started = time.monotonic()
    yield seen
    entry = _REPORT["tests"].setdefault(request.node.name, {})
    entry |= {"seen": seen, "seconds": round(time.monotonic() - started, 3)}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if item.get_closest_marker("gpu") and (report.when == "call" or report.outcome != "passed"):
        entry = _REPORT["tests"].setdefault(item.name, {})
        entry["outcome"] = report.outcome
        if report.outcome != "passed":
            entry["why"] = str(report.longrepr)[-2000:]


def pytest_sessionfinish() -> None:
    if not any(one.get("outcome") != "skipped" for one in _REPORT["tests"].values()):
        return
    path = Path(os.environ.get("LAUNCH_GPU_REPORT") or Path(tempfile.gettempdir()) / "gpu-report.json")
    path.write_text(json.dumps(_REPORT, indent=1, default=str))
