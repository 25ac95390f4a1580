"""Warn of a wheel that needs a newer glibc than the base has, where its file name doesn't tell.

`manylinux_2_28` in a name is a promise (PEP 600); `linux_x86_64`, as local builds have it, promises nothing. Where a launch
resolves requirements, what doesn't fit is left out (`launcher.plan.requirements.wheel_fit`); a lock made elsewhere may name one.
"""

from __future__ import annotations

import re
from pathlib import Path

from runtime.build.symbol_versions import needed_versions
from runtime.build.wheel_needs import glibc_of, library_name, promises_nothing
from runtime.build.wheel_tree import LaidOut


def glibc_warning(wheel: LaidOut, has: tuple[int, int] | None) -> str | None:
    """A sentence when a library of *wheel* needs a glibc newer than *has*; only plain `linux_…` wheels are looked at."""
    if has is None or not promises_nothing(wheel.step.filename):
        return None
    libraries = [entry.path for entry in wheel.files if library_name(entry.path)]
    needed = max(((needed_glibc(wheel.root / path), path) for path in libraries), default=((0, 0), ""))
    if needed[0] <= has:
        return None
    (major, minor), path = needed
    step = wheel.step
    tag = re.sub(r"\.whl$", "", step.filename).rpartition("-")[2]
    return (
        f"`{step.name} {step.version}` needs glibc {major}.{minor} (`{path.rpartition('site-packages/')[2]}`), which its tag "
        f"`{tag}` doesn't say; the base has {has[0]}.{has[1]}, so importing it will probably fail"
    )


def needed_glibc(path: Path) -> tuple[int, int]:
    """The newest GLIBC_x.y among the symbol versions that the ELF file *path* needs; (0, 0) for none."""
    return max((glibc_of(version) for _, version in needed_versions(path)), default=(0, 0))
