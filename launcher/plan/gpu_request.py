"""How many GPUs a run gets, and refuse at once what this machine has not. Which ones is the lease's business.

Looking at GPUs starts here and only when some are asked for: an experiment without GPUs never touches the driver.
"""

from __future__ import annotations

from dataclasses import dataclass

from launcher.errors import ConfigError, Origin


@dataclass(frozen=True, slots=True)
class GpuShare:
    count: int | float
    """What the run gets; `all` is resolved."""
    present: int
    """What the machine has; 0 when none were asked for, since then nobody looks."""


def gpu_share(asked: int | float | str, *, origin: Origin | None = None) -> GpuShare:
    """The GPUs for *asked* (`gpus` of the spec), or a refusal that says how many there are."""
    if asked == 0:
        return GpuShare(count=0, present=0)
    from runtime.gpu.inventory import read_gpus

    present = sum(gpu.trouble is None for gpu in read_gpus())
    if asked == "all":
        if present == 0:
            raise ConfigError("not enough GPUs: all requested, 0 present", origin=origin, hint=_WITHOUT)
        return GpuShare(count=present, present=present)
    count = float(asked)
    if count > present:
        hint = _WITHOUT if present == 0 else f"`gpus={present}` takes all of this machine"
        raise ConfigError(f"not enough GPUs: {count:g} requested, {present} present", origin=origin, hint=hint)
    return GpuShare(count=int(count) if count.is_integer() else count, present=present)


_WITHOUT = "`gpus=0` runs without; `launch doctor` says what this machine has"
