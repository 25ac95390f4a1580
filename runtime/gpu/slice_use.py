"""How busy a MIG slice is: counters of the GPU (GPM, since Hopper) at two moments. NVML's own rate of use is for whole cards."""

from __future__ import annotations

from typing import Any

from runtime.gpu.nvml import Answers

_GRAPHICS_UTIL = 1
"""NVML_GPM_METRIC_GRAPHICS_UTIL: share of the time in which a compute or graphics engine was busy."""


class SliceUse:
    """Remembers the sample of one slice, to compare the next one with."""

    def __init__(self) -> None:
        self._before: Any = None

    def busy_percent(self, nvml: Any, card: Any, device: Any, answers: Answers) -> float | None:
        """Since the last call; None at the first. *device* is the slice, of *card*."""
        now = answers.ask("busy_percent", lambda: self._sample(nvml, card, device))
        before, self._before = self._before, now
        if now is None or before is None:
            return None
        busy = answers.ask("busy_percent", lambda: _compare(nvml, before, now))
        nvml.nvmlGpmSampleFree(before)
        return None if busy is None else float(busy)

    def _sample(self, nvml: Any, card: Any, device: Any) -> Any:
        sample = nvml.nvmlGpmSampleAlloc()
        try:
            return nvml.nvmlGpmMigSampleGet(card, nvml.nvmlDeviceGetGpuInstanceId(device), sample)
        except BaseException:
            nvml.nvmlGpmSampleFree(sample)
            raise


def _compare(nvml: Any, before: Any, now: Any) -> float:
    question = nvml.c_nvmlGpmMetricsGet_t()
    question.version, question.numMetrics = nvml.NVML_GPM_METRICS_GET_VERSION, 1
    question.sample1, question.sample2 = before, now
    question.metrics[0].metricId = _GRAPHICS_UTIL
    answer = nvml.nvmlGpmMetricsGet(question).metrics[0]
    if answer.nvmlReturn != 0:
        raise nvml.NVMLError(answer.nvmlReturn)
    return float(answer.value)
