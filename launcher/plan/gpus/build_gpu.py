"""The GPU that a command of an image sees while the image is built: which architecture, decided when the plan is made.

A layer may depend on what its command was compiled for, never on which of several equal GPUs it had: so one is enough, and its
architecture is part of the step. `runtime.build.run.step_gpu` leases it.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence

from launcher.config.spec import Gpu as GpuRequirements
from launcher.errors import ConfigError, Origin
from launcher.plan.gpus.gpu_request import matching_gpus
from runtime.suggestions import did_you_mean

AUTO = "auto"
KINDS = {"nvidia.com/gpu": "nvidia", "amd.com/gpu": "amd"}
"""What `RUN --device` may name, and whose GPUs those are."""
_ELSEWHERE = "build it on a machine that has one; `image.gpu=9.0` of an experiment plans for one elsewhere"


def build_gpu(asked: str, *, origin: Origin | None, wishes: GpuRequirements | None = None, vendor: str | None = None) -> str:
    """The architecture that *asked* (`image.gpu`) comes to. `auto`: the newest among this machine's GPUs that fulfil *wishes*."""
    if asked != AUTO:
        return asked
    from runtime.gpu.inventory import read_gpus

    ours = [gpu for gpu in read_gpus() if vendor in (None, gpu.vendor)]
    offers, _ = matching_gpus(ours, wishes or GpuRequirements())
    fitting = [gpu for gpu in ours if gpu.uuid in offers or any(one.uuid in offers for one in gpu.mig)]
    found = {gpu.capability for gpu in fitting if gpu.capability is not None}
    if not found:
        raise ConfigError("a command of the image asks for a GPU, and none is usable here", origin=origin, hint=_ELSEWHERE)
    return max(found, key=_age)


def gpu_of_devices(flags: Sequence[str], asked: str, *, origin: Origin) -> str:
    """The architecture for `RUN --device=…`, given once for each of *flags*; "" for none. Fields as BuildKit reads them
    (instructions/commands_rundevice.go)."""
    found = ""
    for flag in flags:
        name, is_required = _device(flag, origin)
        vendor = KINDS.get(name.partition("=")[0])
        if vendor is None:
            hint = f"a build has GPUs alone: {', '.join(f'`{kind}=all`' for kind in KINDS)}; a run gets others by `devices`"
            raise ConfigError(f"`RUN --device={name}` is not supported", origin=origin, hint=hint)
        try:
            found = build_gpu(asked, origin=origin, vendor=vendor)
        except ConfigError:
            if is_required:
                raise
    return found


def _device(flag: str, origin: Origin) -> tuple[str, bool]:
    """`nvidia.com/gpu=all,required=false` → the name, and whether the command can't do without."""
    name, is_required = "", True
    for field in next(csv.reader([flag]), []):
        key, equals, value = field.partition("=")
        if key.lower() == "required" and value.lower() in ("", "true", "1", "t", "false", "0", "f"):
            is_required = value.lower() in ("", "true", "1", "t")
        elif key.lower() == "name" and equals and not name:
            name = value
        elif not name and key.lower() not in ("name", "required"):
            name = field
        else:
            hint = did_you_mean(key, ("name", "required")) or "as `--device=nvidia.com/gpu=all`"
            raise ConfigError(f"`RUN --device` has no `{field}`", origin=origin, hint=hint)
    return name, is_required


def _age(architecture: str) -> tuple[int, ...]:
    """`9.0` before `12.0`; AMD's names stay in their order."""
    return tuple(int(part, 16) for part in architecture.removeprefix("gfx").split("."))
