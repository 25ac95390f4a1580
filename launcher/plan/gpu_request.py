"""How many GPUs a run gets, and refuse at once what this machine has not. Which ones is the lease's business.

Looking at GPUs starts here and only when some are asked for: an experiment without GPUs never touches the driver.
"""

from __future__ import annotations

from launcher.errors import ConfigError, Origin


def gpu_count(asked: int | float | str, *, origin: Origin | None = None) -> int | float:
    """*asked* (`gpus` of the spec) with `all` resolved. A part of a GPU (0.25) stays what it is."""
    if asked == 0:
        return 0
    from runtime.gpu.inventory import count_gpus

    present = count_gpus()
    if isinstance(asked, str):
        if present == 0:
            raise ConfigError("not enough GPUs: all requested, 0 present", origin=origin, hint=_WITHOUT)
        return present
    if asked > present:
        hint = _WITHOUT if present == 0 else f"`gpus={present}` takes all of this machine"
        raise ConfigError(f"not enough GPUs: {asked} requested, {present} present", origin=origin, hint=hint)
    return asked


def cuda_variant(asked: str | None) -> str | None:
    """`image.cuda` with `auto` resolved: `cpu` without a driver, else the newest CUDA that the loaded driver runs."""
    if asked != "auto":
        return asked
    from runtime.gpu.inventory import driver_version

    version = driver_version()
    return "cpu" if version is None else _cuda_of_driver(version)


_WITHOUT = "`gpus=0` runs without; `launch doctor` says what this machine has"

# Least driver branch of each CUDA release (CUDA toolkit release notes, "CUDA Toolkit and Corresponding Driver Versions").
_CUDA_OF_DRIVER = (
    (580, "13.0"),
    (575, "12.9"),
    (570, "12.8"),
    (560, "12.6"),
    (555, "12.5"),
    (550, "12.4"),
    (545, "12.3"),
    (535, "12.2"),
    (530, "12.1"),
    (525, "12.0"),
    (520, "11.8"),
    (450, "11.0"),
)


def _cuda_of_driver(version: str) -> str:
    branch = int(version.split(".")[0])
    return next((cuda for least, cuda in _CUDA_OF_DRIVER if branch >= least), "cpu")
