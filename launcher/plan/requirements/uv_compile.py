"""Have uv say which files these requirements mean, on this base.

uv resolves on this machine, for the base's Python and platform. Three things make it ask more than once: a file that would not
load there is left out (`wheel_fit.py`), source distributions are asked about in a container, and what of the base is to stay is
given up where the requirements can't be met with it (`stub_wheels.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from launcher.errors import ConfigError, LaunchError
from launcher.plan.launch_plan import LockedWheel
from launcher.plan.requirements.pylock import KEEP_ADDRESS, choose_files, has_wheel
from launcher.plan.requirements.requirement_lines import RequirementSet

if TYPE_CHECKING:
    from launcher.plan.bases.pinned_base import SdistBase
    from launcher.plan.requirements.pip_settings import IndexSettings
    from launcher.plan.requirements.pylock import Target
    from launcher.plan.requirements.stub_wheels import StubWheels
    from launcher.plan.requirements.wheel_fit import Misfit
    from runtime.errors import ToolFailed

Provided = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Resolution:
    """The files that uv settled on, and what goes with them."""

    wheels: tuple[LockedWheel, ...]
    provided: tuple[tuple[str, str], ...]
    """(name, version) of what the base has for it."""
    torch: str | None
    """The variant of torch."""
    addresses: dict[str, str]
    """File name → URL of *wheels*."""
    warnings: tuple[str, ...]


@dataclass(slots=True)
class Resolver:
    """One resolution by uv, and all that uv needs to know for it."""

    wanted: RequirementSet
    target: Target
    settings: IndexSettings
    backend: str | None
    """`--torch-backend`"""
    directory: Path
    """Where uv looks for settings of the project."""
    runs: Callable[[str], bool] | None
    """Whether a variant of torch (`cpu`, `cu128`) is wanted; None: any is."""
    environ: Mapping[str, str]
    scratch_dir: Path
    """Remembered answers and scratch files."""
    cache_dir: Path | None = None
    """uv's cache, where it isn't the user's."""
    sdists: SdistBase | None = None
    libstdcxx: int | None = None
    stub_wheels: StubWheels | None = None
    left_out: list[Misfit] = field(default_factory=list)
    barred: list[str] = field(default_factory=list)
    """`torch!=2.13.0+cpu`: versions of which no file fits."""

    def resolve(self) -> Resolution:
        """Files that cannot load on the base are left out, one question to uv for each time that others took their place."""
        from launcher.plan.requirements.wheel_fit import misfits, nothing_fits, warnings_of
        from runtime.build.wheels.system_libraries import SystemLibraries

        # Ends: what was left out once is never chosen again.
        has = SystemLibraries(self.target.libc_version if self.target.libc == "manylinux" else (0, 0), self.libstdcxx)
        while True:
            try:
                document, provided = self._document()
                if self._bar_other_build(document):
                    continue
                torch = self._torch_variant(document)
                chosen = self._choose(document, torch)
            except ConfigError as error:
                if not self.left_out:
                    raise
                raise nothing_fits(self.left_out, error) from error
            wheels, addresses = tuple(chosen), {wheel.filename: address for wheel, address in chosen.items() if address}
            unfit = misfits(wheels, addresses, has=has, cache_dir=self.scratch_dir)
            if not unfit:
                return Resolution(wheels, provided, torch, addresses, warnings_of(self.left_out, wheels))
            self._leave_out(unfit, document)

    def _bar_other_build(self, document: Mapping[str, Any]) -> bool:
        """Whether the torch of *document* is a build that isn't wanted: uv chooses among the builds of torch's own indexes only,
        and takes the newest of a directory or another index."""
        version = next(
            (str(package.get("version")) for package in document.get("packages", ()) if package["name"] == "torch"), ""
        )
        variant = version.partition("+")[2]
        if self.runs is None or not variant or self.runs(variant) or f"torch!={version}" in self.barred:
            return False
        self.barred.append(f"torch!={version}")
        return True

    def _choose(self, document: Mapping[str, Any], torch: str | None) -> dict[LockedWheel, str]:
        return choose_files(document, self.target, torch=torch, without={misfit.wheel.filename for misfit in self.left_out})

    def _leave_out(self, unfit: Sequence[Misfit], document: Mapping[str, Any]) -> None:
        """Bar the files of *unfit*; and their versions, where *document* has no other wheel of them."""
        self.left_out += unfit
        names = {misfit.wheel.filename for misfit in self.left_out}
        for wheel in (misfit.wheel for misfit in unfit):
            if not has_wheel(document, wheel.name, self.target, without=names):
                self.barred.append(f"{wheel.name}!={wheel.version}")

    def _document(self) -> tuple[dict[str, Any], Provided]:
        """The files of every package (PEP 751), and what the base provides instead."""
        project = self.wanted.project
        if project is None:
            return self._resolve_lines(self.wanted.lines, None)
        if project.name == "pyproject.toml":
            document, provided = self._resolve_lines(self.wanted.lines, project)
            return _keep_addresses(document, project), provided
        document, provided = self._read_frozen(project)
        _keep_addresses(document, project)
        if not self.wanted.lines:
            return document, provided
        pinned = [f"{wheel.name}=={wheel.version}" for wheel in choose_files(document, self.target)]
        document, more = self._resolve_lines([*pinned, *self.wanted.lines], None)
        return document, tuple(sorted({*provided, *more}))

    def _read_frozen(self, project: Path) -> tuple[dict[str, Any], Provided]:
        """A *project* file that pins everything itself, without what the base has in the very same version; where the file says
        who needs whom (uv.lock), without what only that needs."""
        import tomllib

        from launcher.plan.requirements.stub_wheels import same_versions

        export = ["export", "--frozen", "--format", "pylock.toml", "--no-emit-project", "--no-dev"]
        is_uv = project.name == "uv.lock"
        try:
            document = tomllib.loads(self._call(export) if is_uv else project.read_text(encoding="utf-8"))
            provided = () if self.stub_wheels is None else same_versions(document, self.stub_wheels)
            if is_uv and provided:
                document = tomllib.loads(self._call([*export, *(word for name, _ in provided for word in ("--prune", name))]))
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"cannot read `{project}`: {error}") from error
        names = {name for name, _ in provided}
        packages = [package for package in document.get("packages", ()) if canonicalize_name(package["name"]) not in names]
        return {**document, "packages": packages}, provided

    def _resolve_lines(self, lines: Sequence[str], project: Path | None) -> tuple[dict[str, Any], Provided]:
        import tomllib

        from launcher.plan.requirements.stub_wheels import without_stubs

        stays = [] if self.stub_wheels is None else self.stub_wheels.constraints()
        if stays:
            try:
                return without_stubs(tomllib.loads(self._compile(lines, project, stays)), self.stub_wheels)
            except ConfigError:
                # They can't be met with what the base has; who asks for something impossible hears of it below.
                pass
        return without_stubs(tomllib.loads(self._compile(lines, project, ())), self.stub_wheels)

    def _compile(self, lines: Sequence[str], project: Path | None, stays: Sequence[str]) -> str:
        import tempfile

        from runtime.errors import ToolFailed
        from runtime.store.scratch import room_for_containers

        # Below the cache directory: a container may have to see it, and /tmp may be no file system for that.
        self.scratch_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = room_for_containers(self.scratch_dir, self.environ)
        with tempfile.TemporaryDirectory(prefix="resolve-", dir=place) as scratch:
            source = _lines_file(Path(scratch) / "requirements.in", lines)
            arguments = ["pip", "compile", *([os.fspath(project)] if project else []), *([os.fspath(source)] if lines else [])]
            arguments += ["--format", "pylock.toml", "--no-header", "--no-annotate"]
            arguments += ["--python-version", self.target.python, "--python-platform", self.target.uv_platform]
            barred = [*self.barred, *stays]
            own = [os.fspath(_lines_file(Path(scratch) / "barred.txt", barred))] if barred else []
            for constraint in (*self.settings.constraints, *own):
                arguments += ["--constraint", constraint]
            if self.backend is not None:
                arguments += ["--torch-backend", self.backend]
            arguments += self._stub_wheel_arguments()
            output = Path(scratch) / "pylock.toml"
            if self.stub_wheels is not None:
                output.write_text(self.stub_wheels.preferences(), encoding="utf-8")
            try:
                self._call([*arguments, "--no-build", "-o", os.fspath(output)])
                return output.read_text(encoding="utf-8")
            except ToolFailed as error:
                if "no usable wheels" not in error.words:
                    raise _explain(error) from error
                return self._compile_in_container(arguments, Path(scratch), error)

    def _stub_wheel_arguments(self) -> list[str]:
        """All places of `--find-links` as arguments, since one argument makes uv pass over its variable."""
        if self.stub_wheels is None:
            return []
        variable = self.settings.env.get("UV_FIND_LINKS") or self.environ.get("UV_FIND_LINKS", "")
        places = [*filter(None, variable.split(",")), os.fspath(self.stub_wheels.directory())]
        return [word for place in places for word in ("--find-links", place)]

    def _compile_in_container(self, arguments: Sequence[str], work: Path, refusal: ToolFailed) -> str:
        """A package without wheels tells its dependencies only when its own code runs: never on this machine."""
        if self.sdists is None:
            raise ConfigError(
                f"a requirement has no wheel for this Python, only source: {refusal.words}",
                hint="require a version that has a wheel",
            ) from refusal
        from runtime.build.wheels.sdist import uv_in_container
        from runtime.errors import RuntimeFailure

        readable = [Path(place) for place in (*self.settings.constraints, *self.settings.find_links) if "://" not in place]
        readable += [*self.wanted.files, work / "requirements.in", work / "barred.txt", work / "build.txt"]
        output = work / "work" / "pylock.toml"
        output.parent.mkdir()
        words = [
            *arguments,
            "--python",
            self.sdists.python,
            "-o",
            f"/run/launch-build/work/{output.name}",
            *self.settings.uv_args,
        ]
        if self.stub_wheels is not None:
            readable.append(self.stub_wheels.directory())
            output.write_text(self.stub_wheels.preferences(), encoding="utf-8")
            build = _lines_file(work / "build.txt", self.stub_wheels.build_constraints())
            words += ["--build-constraint", os.fspath(build)]
        try:
            uv_in_container(
                words,
                layers=self.sdists.layers(),
                env=self.settings.env,
                base_env=self.sdists.env,
                on_base=self.sdists.has_packages,
                readable=readable,
                work=work / "work",
                overlay_dir=work / "overlay",
                network="host",
            )
            return output.read_text(encoding="utf-8")
        except RuntimeFailure as error:
            raise _explain(error) from error

    def _call(self, arguments: Sequence[str]) -> str:
        from runtime.build.wheels.uv_program import cache_arguments, run_uv, this_interpreter, uv_environment
        from runtime.errors import NetworkError

        env = uv_environment(self.environ, self.settings.env)
        words = [*arguments, *this_interpreter(), *cache_arguments(self.cache_dir, self.environ)]
        if arguments[0] == "pip":
            words += self.settings.uv_args
        try:
            return run_uv(words, env=env, cwd=self.directory)
        except NetworkError as error:
            raise LaunchError(error.message, hint=error.hint) from error

    def _torch_variant(self, document: Mapping[str, Any]) -> str | None:
        """What `auto` became, read off torch's local version or address; else what was asked for."""
        if self.backend != "auto":
            return self.backend
        import re

        for package in document.get("packages", ()):
            for wheel in package.get("wheels", ()) if package["name"] == "torch" else ():
                found = re.search(r"\+(cpu|cu\d+|rocm[\d.]+)", str(package.get("version"))) or re.search(
                    r"/(cpu|cu\d+|rocm[\d.]+)/", str(wheel.get("url"))
                )
                if found:
                    return found[1]
        return None


def _keep_addresses(document: dict[str, Any], project: Path) -> dict[str, Any]:
    """Mark the files that our download would not find by name (`requirement_lines.project_indexes`). A pylock.toml from
    elsewhere names indexes itself: those that are no ordinary index (torch's) count.
    """
    from launcher.plan.requirements.requirement_lines import project_indexes

    bound = project_indexes(project).bound
    for package in document.get("packages", ()):
        index = str(package.get("index") or "").rstrip("/")
        foreign = project.name not in ("pyproject.toml", "uv.lock") and index and not index.endswith("/simple")
        if foreign or canonicalize_name(package["name"]) in bound:
            package["tool"] = KEEP_ADDRESS
    return document


def _explain(error: Exception) -> LaunchError:
    """uv's words as an error of the person's configuration, or of the launcher's surroundings."""
    from runtime.errors import RuntimeFailure, ToolFailed

    if isinstance(error, ToolFailed):
        return ConfigError(f"the requirements cannot be resolved: {error.words}", hint=error.hint)
    return LaunchError(str(error), hint=error.hint if isinstance(error, RuntimeFailure) else None)


def _lines_file(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path
