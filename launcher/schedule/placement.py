"""Which GPUs a run may take: pure. Taking them is `runtime.gpu.lease`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from launcher.config.spec import Gpu as Wishes
from launcher.errors import LaunchError
from runtime.gpu.inventory import Gpu


def suitable(gpus: Sequence[Gpu], wishes: Wishes, count: int) -> tuple[Gpu, ...]:
    """The healthy GPUs that fulfil *wishes*, in NVML's order. Raises LaunchError when they could never be *count*."""
    fitting = [gpu for gpu in gpus if gpu.trouble is None and gpu.uuid is not None and _fits(gpu, wishes)]
    if len(fitting) < count:
        present = ", ".join(f"{gpu.model} ({gpu.trouble or 'healthy'})" for gpu in gpus) or "none"
        raise LaunchError(
            f"not enough GPUs: {count} requested, {len(fitting)} present that fulfil `gpu`", hint=f"present: {present}"
        )
    return tuple(fitting)


def free_first(gpus: Sequence[Gpu]) -> tuple[str, ...]:
    """UUIDs worth trying: those without foreign compute processes. Called again while waiting, with a fresh reading."""
    return tuple(gpu.uuid for gpu in gpus if gpu.uuid is not None and not gpu.pids)


def _fits(gpu: Gpu, wishes: Wishes) -> bool:
    if wishes.model is not None and not (gpu.model and re.search(wishes.model, gpu.model)):
        return False
    if wishes.memory is not None and not (gpu.memory_bytes and gpu.memory_bytes >= wishes.memory):
        return False
    return wishes.capability is None or (gpu.capability is not None and _version(gpu.capability) >= _version(wishes.capability))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
