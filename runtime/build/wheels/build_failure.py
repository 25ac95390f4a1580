"""Sources that don't build: why there was something to build, what the build said, and what the image lacks."""

from __future__ import annotations

import re

from runtime.build.plan import InstallTree, InstallWheel
from runtime.build.step_label import step_label
from runtime.errors import BuildError


def build_error(step: InstallWheel, words: str, other: str | None) -> BuildError:
    """The failure of *step*, whose build said *words*; *other* is a Python that has a wheel of it: `bookworm's 3.11`."""
    elsewhere = f" ({other} has one)" if other else ""
    hints = [f"`image.python={other.rpartition(' ')[2]}` takes a base for which there is a wheel"] if other else []
    if lacks := missing_of(words):
        hints.append(lacks)
    if isinstance(step, InstallTree):
        if step.target:
            hints.append("an editable build sees only the modules that pyproject.toml or setup.py name; `.` sees all")
        return BuildError(f"`{step_label(step)}` doesn't build:\n{words}", hint="; or else ".join(hints) or None)
    return BuildError(
        f"no wheel of {step.name} {step.version} for Python {step.python}{elsewhere}, and its source `{step.filename}` doesn't "
        f"build:\n{words}",
        hint="; or else ".join(hints) or None,
    )


_COMPILER = r"(?:[\w./-]*[/-])?(?:gcc|g\+\+|cc|c\+\+|clang|make)"
_NO_COMPILER = re.compile(
    rf"'{_COMPILER}' failed: No such file|\b{_COMPILER}: (?:command )?not found|No such file or directory: '{_COMPILER}'|"
    r"No CMAKE_C(?:XX)?_COMPILER|Unknown compiler\(s\)|linker `cc` not found|find (?:a )?(?:suitable )?C(?:\+\+)? compiler",
    re.IGNORECASE,
)
_NO_RUST = re.compile(r"(?:can't find Rust compiler|Rust toolchain .*not installed|cargo.*not (?:found|on PATH))", re.IGNORECASE)
_NO_HEADER = re.compile(r"fatal error: (\S+\.h(?:pp|xx)?): No such file")
_NO_PROGRAM = re.compile(r"(?:No such file or directory: '|sh: \d+: )(cmake|ninja|pkg-config|git|swig|gfortran|nvcc)\b")
_PACKAGES = {"ninja": "ninja-build", "nvcc": "nvidia-cuda-toolkit"}
"""Program → Debian package, where it isn't called the same."""


def missing_of(words: str) -> str | None:
    """What the image lacks, by the *words* of a build. A compiler that ran and found fault is nothing that a package mends."""
    if _NO_RUST.search(words):
        return "it needs Rust: `image.apt: [cargo]`"
    if _NO_COMPILER.search(words):
        return "it needs a compiler: `image.apt: [build-essential, python3-dev]`"
    if header := _NO_HEADER.search(words):
        if header[1] == "Python.h":
            return "it needs Python's headers: `image.apt: [python3-dev]`"
        return f"it needs the header `{header[1]}`: the Debian package that has it goes into `image.apt`"
    if program := _NO_PROGRAM.search(words):
        return f"it needs `{program[1]}`: `image.apt: [{_PACKAGES.get(program[1], program[1])}]`"
    return None
