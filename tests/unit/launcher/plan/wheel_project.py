"""A directory of wheels instead of an index, and what resolves against it: the real uv, no network."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.plan.bases.pinned_base import BasePython
from launcher.plan.bases.pinning import Pinning
from launcher.plan.launch_plan import Lock
from launcher.plan.requirements.requirement_lines import RequirementRequest
from launcher.plan.requirements.resolve import resolve
from runtime.state_dir import StateDir

PLATFORM = "x86_64-manylinux_2_41"


def make_wheel(
    directory: Path, name: str, version: str = "1.0", *, requires: tuple[str, ...] = (), tag: str = "py3-none-any"
) -> None:
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(f"Requires-Dist: {r}\n" for r in requires)
    directory.mkdir(exist_ok=True)
    with zipfile.ZipFile(directory / f"{name}-{version}-{tag}.whl", "w") as archive:
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")


class Project:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.wheels = directory / "wheels"
        self.environ = {
            "HOME": str(directory),
            "PATH": "/usr/bin:/bin",
            "XDG_CONFIG_DIRS": str(directory / "xdg"),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "UV_CACHE_DIR": str(directory / "uv-cache"),
            "UV_OFFLINE": "1",
        }
        make_wheel(self.wheels, "app", requires=("lib>=1", "other; sys_platform == 'win32'"))
        make_wheel(self.wheels, "lib", "1.0")
        make_wheel(self.wheels, "lib", "1.1", tag="cp313-cp313-manylinux_2_17_x86_64")

    def resolve(self, *requirements: str, environ: Mapping[str, str] | None = None, **changed: Any) -> Lock:
        """*changed*: fields of the request, of the base's Python, or options of `resolve`."""
        pinning = Pinning(
            StateDir(self.directory / "state"), {**self.environ, **(environ or {})}, refresh=changed.pop("refresh", False)
        )
        asked = {name: changed.pop(name) for name in RequirementRequest._fields if name in changed}
        has = {name: changed.pop(name) for name in BasePython._fields if name in changed}
        request = RequirementRequest(**{"requirements": requirements, "base_dir": self.directory, **asked})
        return resolve(request, BasePython(**{"version": "3.13.5", "platform": PLATFORM, **has}), pinning, **changed)


def names(lock: Lock) -> list[str]:
    return [f"{wheel.name} {wheel.version}" for wheel in lock.wheels]
