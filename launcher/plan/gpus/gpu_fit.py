"""Whether what a run's image holds can run on this machine's driver and GPUs: told before anything is built.

What is asked: the image's own demands (NVIDIA_REQUIRE_*, CUDA_VERSION), the CUDA that the locked torch is built for, and the GPUs
that its builds have code for. `gpu.require: ignore` leaves all of it out.

| case | verdict |
| --- | --- |
| met | nothing is said |
| not met; same CUDA major, driver not older than that major's floor | warning: minor-version compatibility |
| not met | refused, with both versions and what helps |
| a GPU that torch's builds have no code for | warning |

A version of torch says what it is made for (`2.9.0+cu128`), or else the CUDA runtime that is locked with it does. Which GPUs the
project compiles for is in its build scripts (pytorch, .ci/manywheel/build_cuda.sh); builds of others may differ, so that is good
for advice only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from launcher.config.spec import ExperimentSpec
from launcher.errors import ConfigError
from launcher.plan.launch_plan import Lock
from launcher.plan.origins import Where
from runtime.gpu.gpu import Gpu
from runtime.gpu.nvidia.requirements import Has, demands, is_met, version, wanted_cuda
from runtime.light_dataclasses import dataclass

_CODE_FOR: dict[tuple[int, int], tuple[float, float]] = {
    (11, 8): (3.7, 9.0),
    (12, 1): (5.0, 9.0),
    (12, 4): (5.0, 9.0),
    (12, 6): (5.0, 9.0),
    (12, 8): (7.0, 12.0),
    (12, 9): (7.0, 12.0),
    (13, 0): (7.5, 12.0),
}
"""CUDA → the lowest and the highest compute capability."""
_RUNTIME = re.compile(r"nvidia-cuda-runtime(?:-cu(\d+))?")


@dataclass(frozen=True, slots=True)
class TorchBuild:
    version: str
    cuda: tuple[int, int] | None
    """None: for the CPU alone."""

    def __str__(self) -> str:
        made_for = f" for CUDA {self.cuda[0]}.{self.cuda[1]}" if self.cuda is not None and "+cu" not in self.version else ""
        return f"torch {self.version}{made_for}"

    def has_code_for(self, capability: str | None) -> bool:
        """Whether a GPU of *capability* is served, as far as is known. Code for 9.0 runs on 9.x, and not on 10."""
        known = self.cuda is not None and _CODE_FOR.get(self.cuda)
        if not known or capability is None:
            return True
        lowest, highest = known
        return float(capability) >= lowest and int(float(capability)) <= int(highest)

    def range_of_code(self) -> tuple[float, float]:
        assert self.cuda is not None
        return _CODE_FOR[self.cuda]


def torch_build(lock: Lock | None) -> TorchBuild | None:
    """The torch of *lock*; None when there is none, or when nothing tells what it is made for."""
    if lock is None:
        return None
    versions = {wheel.name: wheel.version for wheel in lock.wheels} | dict(lock.provided)
    version = versions.get("torch")
    if version is None:
        return None
    if "+cpu" in version:
        return TorchBuild(version, None)
    found = re.search(r"\+cu(\d+)(\d)\b", version)
    if found:
        return TorchBuild(version, (int(found[1]), int(found[2])))
    for name, of_runtime in versions.items():
        if _RUNTIME.fullmatch(name):
            major, minor = of_runtime.split(".")[:2]
            return TorchBuild(version, (int(major), int(minor)))
    return None


FLOORS = {11: 450, 12: 525, 13: 580}
"""CUDA's major → the first driver branch that runs all of its minor versions (NVIDIA, "Minor Version Compatibility")."""
_IGNORE = "`gpu.require=ignore` starts it anyway"


@dataclass(frozen=True, slots=True)
class CudaNeed:
    """A CUDA version, and who needs it."""

    who: str
    cuda: tuple[int, int]
    origin: str
    """The key that chose it."""
    way_out: str


def check_fit(
    spec: ExperimentSpec, env: Mapping[str, str], lock: Lock | None, gpus: Sequence[Gpu], where: Where
) -> tuple[str, ...]:
    """Warnings about *gpus*, those that the run may get. Raises ConfigError when none of them can run it."""
    ours = [gpu for gpu in gpus if gpu.vendor == "nvidia"]
    if not ours or spec.gpu.require == "ignore":
        return ()
    torch = torch_build(lock)
    return (
        *_image_demands(spec, {**env, **spec.env}, ours, where),
        *(() if torch is None else _torch_needs(torch, ours, where)),
    )


def _image_demands(spec: ExperimentSpec, env: Mapping[str, str], gpus: Sequence[Gpu], where: Where) -> tuple[str, ...]:
    expressions = demands(env)
    try:
        unmet = [one for one in expressions if not any(is_met(one, Has.of(gpu)) for gpu in gpus)]
        some = [gpu for gpu in gpus if not all(is_met(one, Has.of(gpu)) for one in expressions)]
    except ValueError as error:
        return (f"what `{spec.image.base}` demands of the driver can't be read: {error}",)
    if not unmet:
        listed = ", ".join(str(gpu.model) for gpu in some)
        return (f"`{spec.image.base}` demands what these GPUs don't have: {listed}",) if some else ()
    wanted = wanted_cuda(unmet)
    if wanted is None or not _too_old(wanted, gpus):
        raise ConfigError(
            f"{_driver(gpus[0])} on a {gpus[0].model} does not meet what `{spec.image.base}` demands: `{unmet[0]}`",
            origin=where("image.base"),
            hint=f"take another image, or another driver; {_IGNORE}",
        )
    cuda = gpus[0].cuda
    way_out = f"use an image with {'an older CUDA' if cuda is None else f'CUDA {cuda[0]}.x or older'}"
    return _judge(CudaNeed(f"`{spec.image.base}`", wanted, "image.base", way_out), gpus, where)


def _torch_needs(torch: TorchBuild, gpus: Sequence[Gpu], where: Where) -> tuple[str, ...]:
    if torch.cuda is None:
        return (f"{torch} has no CUDA in it: it can't use GPUs (`image.cuda=auto` takes a build that can)",)
    warnings: tuple[str, ...] = ()
    if _too_old(torch.cuda, gpus):
        need = CudaNeed(f"{torch}", torch.cuda, "image.cuda", "`image.cuda=auto` takes a build that this driver runs")
        warnings = _judge(need, gpus, where)
    without_code = [gpu for gpu in gpus if not torch.has_code_for(gpu.capability)]
    if without_code:
        gpu = without_code[0]
        lowest, highest = torch.range_of_code()
        warnings += (
            (
                f"{torch} has code for compute capability {lowest} to {highest}, and {gpu.model} has {gpu.capability}: "
                "`image.cuda=auto` takes a build that fits, where there is one"
            ),
        )
    return warnings


def _judge(need: CudaNeed, gpus: Sequence[Gpu], where: Where) -> tuple[str, ...]:
    """A warning or a refusal for a CUDA that is newer than the driver's."""
    gpu = gpus[0]
    floor = FLOORS.get(need.cuda[0])
    wanted = f"CUDA {need.cuda[0]}.{need.cuda[1]}"
    branch = version(gpu.driver)[0] if gpu.driver else 0
    if gpu.cuda is not None and gpu.cuda[0] == need.cuda[0] and floor is not None and branch >= floor:
        return (
            (
                f"{need.who} needs {wanted}, {_driver(gpu)}: minor-version compatibility applies; new features and code that is "
                "compiled at run time (PTX) may fail"
            ),
        )
    newer = f"driver {floor} or newer" if floor is not None else "a newer driver"
    raise ConfigError(
        f"{_driver(gpu)} is too old for {need.who}, which needs {wanted}: {newer}",
        origin=where(need.origin),
        hint=f"{need.way_out}, or upgrade the driver; {_IGNORE}",
    )


def _too_old(wanted: tuple[int, int], gpus: Sequence[Gpu]) -> bool:
    has = gpus[0].cuda
    return has is not None and has < wanted


def _driver(gpu: Gpu) -> str:
    return f"driver {gpu.driver}" + ("" if gpu.cuda is None else f" (CUDA {gpu.cuda[0]}.{gpu.cuda[1]})")
