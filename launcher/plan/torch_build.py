"""Which build of torch a lock has: the CUDA that it is made for, and the GPUs that it has code for.

Its version says so (`2.9.0+cu128`), or else the CUDA runtime that is locked with it. Which GPUs the project compiles for is in
its build scripts (pytorch, .ci/manywheel/build_cuda.sh); builds of others may differ, so that is good for advice only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from launcher.plan.launch_plan import Lock

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
