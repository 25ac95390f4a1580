"""How many GPUs a run gets, and refuse at once what this machine has not. Which ones is the lease's business.

Looking at GPUs starts here and only when some are asked for: an experiment without GPUs never touches the driver.
"""

from __future__ import annotations

from launcher.errors import ConfigError, Origin


def gpu_count(asked: int | float | str, *, origin: Origin | None = None) -> int | float:
    """*asked* (`gpus` of the spec) with `all` resolved. A part of a GPU (0.25) stays what it is."""
    if asked == 0:
        return 0
    from runtime.gpu.device_nodes import count_gpus

    present = count_gpus()
    if isinstance(asked, str):
        if present == 0:
            raise ConfigError("not enough GPUs: all requested, 0 present", origin=origin, hint=_WITHOUT)
        return present
    if asked > present:
        hint = _WITHOUT if present == 0 else f"`gpus={present}` takes all of this machine"
        raise ConfigError(f"not enough GPUs: {asked} requested, {present} present", origin=origin, hint=hint)
    return asked


_WITHOUT = "`gpus=0` runs without; `launch doctor` says what this machine has"
