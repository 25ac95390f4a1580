"""A base in which nothing floats, as a value: what `base_image.py` and `imported_base.py` make and the image is planned on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from launcher.plan.bases.base_packages import BasePackage
from runtime.build.plan import VENV, ImageConfig, Interpreter, Step, minor_of
from runtime.light_dataclasses import dataclass, field
from runtime.oci.digest import Digest


class BasePython(NamedTuple):
    """The Python of a base, as far as wheels must fit it."""

    version: str
    """Exact, `3.13.5`."""
    platform: str
    """As wheels name it: `x86_64-manylinux_2_41`."""
    libstdcxx: int | None = None
    """n of the base's newest `GLIBCXX_3.4.n`, where known: like the platform's glibc, what a local build's libraries need."""
    installed: tuple[BasePackage, ...] = ()
    """What the base has."""

    @property
    def minor(self) -> str:
        """`3.13`"""
        return minor_of(self.version)


@dataclass(frozen=True, slots=True)
class Base:
    """A pinned base with the apt packages on it."""

    steps: tuple[Step, ...]
    """Bottom first."""
    digest: Digest
    """Of the package list, or of the manifest; without the experiment's own apt packages."""
    architecture: str
    """As OCI and Debian name it: `amd64`."""
    interpreter: Interpreter | None = None
    platform: str = ""
    """As wheels name it: `x86_64-manylinux_2_41`."""
    libstdcxx: int | None = None
    """n of the newest `GLIBCXX_3.4.n` in its libstdc++; None: it has none, or we don't know."""
    env: dict[str, str] = field(default_factory=dict)
    """Of an imported image's configuration."""
    has_own_python: bool = False
    """Whether its Python may have packages of its own, so that it is used as it is until requirements come on top."""
    python_packages: tuple[str, ...] = ()
    """Where those are, when they are in a virtual environment."""
    installed: tuple[BasePackage, ...] = ()
    """What they are; empty where nothing was asked."""
    venv: str = VENV
    """Where requirements go: a place that the base leaves free."""
    image_config: ImageConfig | None = None
    """What the image's configuration starts from, entrypoint and user too: a Dockerfile's. None: an experiment's defaults."""
    stages: tuple[tuple[Step, ...], ...] = ()
    """Those that *steps* refer to, as `BuildPlan.stages`."""
    warnings: tuple[str, ...] = ()

    @property
    def python(self) -> BasePython:
        """Of a base that has one."""
        assert self.interpreter is not None
        return BasePython(self.interpreter.version, self.platform, self.libstdcxx, self.installed)


@dataclass(frozen=True, slots=True)
class SdistBase:
    """Where code of a source distribution may run."""

    layers: Callable[[], Sequence[Path]]
    """Builds the base when called, and gives its lower directories, bottom first."""
    python: str
    """Its interpreter: `/usr/bin/python3.13`."""
    env: Mapping[str, str] = field(default_factory=dict)
    """What its programs count on."""
    has_packages: bool = False
    """Whether a build may need what is installed there."""
