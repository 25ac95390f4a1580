"""Have uv say which files these requirements mean, on this base.

uv resolves on this machine, for the base's Python and platform. Three things make it ask more than once: a file that would not
load there is left out (`wheel_fit.py`), source distributions are asked about in a container, and what of the base is to stay is
given up where the requirements can't be met with it (`stub_wheels.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from launcher.errors import ConfigError, LaunchError
from launcher.plan.launch_plan import LockedWheel
from launcher.plan.requirements.formats.requirements_file import Kind, RequirementsFile
from launcher.plan.requirements.other_pythons import explain_tags, suites_targets
from launcher.plan.requirements.pylock import KEEP_ADDRESS, choose_files, has_wheel, with_absolute_paths
from launcher.plan.requirements.requirement_lines import RequirementSet
from runtime.light_dataclasses import dataclass, field, replace

if TYPE_CHECKING:
    from launcher.plan.bases.pinned_base import SdistBase
    from launcher.plan.requirements.pip_settings import IndexSettings
    from launcher.plan.requirements.source_trees import SourceTrees
    from launcher.plan.requirements.stub_wheels import StubWheels
    from launcher.plan.requirements.target import Target
    from launcher.plan.requirements.wheel_fit import Misfit
    from runtime.errors import ToolFailed

Provided = tuple[tuple[str, str], ...]

_TORCH_INDEX = (
    "torch's builds for `{}` are in an index of their own. Where that can't be reached, leave `image.cuda` out and name a mirror "
    "of it in `image.index.extra_urls`, or a directory that has the wheels in `image.index.find_links`"
)
_WORK = Path("/run/launch-build/work")
"""Where a container of `sdist.py` has its work directory."""

_NEEDS_A_BUILD = ("no usable wheels", "Building source distributions")
"""uv on this machine, which may not run a package's code, says that only this would tell."""


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
    trees: SourceTrees
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
                without = {misfit.wheel.filename for misfit in self.left_out}
                chosen = choose_files(document, self.target, torch=torch, without=without)
            except ConfigError as error:
                if not self.left_out:
                    raise
                raise nothing_fits(self.left_out, error, self.target) from error
            wheels, addresses = (
                self.trees.locked(chosen),
                {wheel.filename: address for wheel, address in chosen.items() if address},
            )
            unfit = misfits(wheels, addresses, has=has, cache_dir=self.scratch_dir)
            if not unfit:
                return Resolution(self._with_others(wheels), provided, torch, addresses, warnings_of(self.left_out, wheels))
            self._leave_out(unfit, document)

    def _with_others(self, wheels: Sequence[LockedWheel]) -> tuple[LockedWheel, ...]:
        """*wheels* with the Python that has a wheel where the target's has none; uv's documents name the target's files only."""
        return tuple(
            replace(wheel, other_python=self._python_with_wheel(wheel)) if wheel.sdist and not wheel.url else wheel
            for wheel in wheels
        )

    def _python_with_wheel(self, wheel: LockedWheel) -> str | None:
        import tempfile

        from runtime.errors import RuntimeFailure

        if wheel.other_python is not None:
            return wheel.other_python
        with tempfile.TemporaryDirectory(prefix="ask-", dir=self.scratch_dir) as scratch:
            asked = _lines_file(Path(scratch) / "requirements.in", [f"{wheel.name}=={wheel.version}"])
            question = ["pip", "compile", os.fspath(asked), "--no-deps", "--no-build", "--format", "pylock.toml"]
            for words, other in suites_targets(self.target):  # each is a question to the index, and most builds need no advice
                platform = ["--python-version", other.python, "--python-platform", other.uv_platform]
                try:
                    self._call([*question, *platform])
                except (LaunchError, RuntimeFailure):
                    continue
                return words
        return None

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
            return self._resolve_lines(self.wanted.lines)
        if not project.is_pinned:
            return self._resolve_project(project)
        document, provided = self._read_pinned(project)
        _keep_addresses(document, project)
        if not self.wanted.lines:
            return document, provided
        chosen = choose_files(document, self.target)
        pinned = [wheel.requirement if wheel.is_tree else f"{wheel.name}=={wheel.version}" for wheel in chosen]
        joined, more = self._resolve_lines([*pinned, *self.wanted.lines])
        return _with_files_of(document, joined), tuple(sorted({*provided, *more}))

    def _resolve_project(self, project: RequirementsFile) -> tuple[dict[str, Any], Provided]:
        from launcher.plan.requirements.formats.project_needs import has_poetry_only, project_dependencies

        if has_poetry_only(project.path):
            # uv would build the project to be told what it needs.
            lines = [each.to_line() for each in project_dependencies(project.path, project.parts)]
            return self._resolve_lines([*lines, *self.wanted.lines])
        document, provided = self._resolve_lines(self.wanted.lines, [os.fspath(project.path), *project.parts.uv_words()])
        return _keep_addresses(document, project), provided

    def _read_pinned(self, project: RequirementsFile) -> tuple[dict[str, Any], Provided]:
        """A *project* file that pins everything itself, without what the base has in the very same version."""
        from launcher.plan.requirements.formats.pinned_document import pinned_document
        from launcher.plan.requirements.stub_wheels import same_versions

        if project.kind is Kind.PIPFILE:
            from launcher.plan.requirements.formats.pipfile_lock import read_pipfile_lock, with_locked_files

            locked = read_pipfile_lock(project)
            document, provided = self._resolve_lines(locked.lines, ["--no-deps"])
            return with_locked_files(document, locked), provided
        document = pinned_document(project, self.target, uv=self._call)
        provided = () if self.stub_wheels is None else same_versions(document, self.stub_wheels)
        if provided:
            document = pinned_document(project, self.target, without=[name for name, _ in provided], uv=self._call)
        return document, provided

    def _resolve_lines(self, lines: Sequence[str], words: Sequence[str] = ()) -> tuple[dict[str, Any], Provided]:
        """*words*: more arguments of `uv pip compile`."""
        from launcher.plan.requirements.stub_wheels import without_stubs

        stays = [] if self.stub_wheels is None else self.stub_wheels.constraints()
        if stays:
            try:
                return without_stubs(self._compile(lines, words, stays), self.stub_wheels)
            except ConfigError:
                # They can't be met with what the base has; who asks for something impossible hears of it below.
                pass
        return without_stubs(self._compile(lines, words, ()), self.stub_wheels)

    def _compile(self, lines: Sequence[str], words: Sequence[str], stays: Sequence[str]) -> dict[str, Any]:
        import tempfile
        import tomllib

        from runtime.errors import ToolFailed
        from runtime.store.scratch import room_for_containers

        # Below the cache directory: a container may have to see it, and /tmp may be no file system for that.
        self.scratch_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = room_for_containers(self.scratch_dir, self.environ)
        with tempfile.TemporaryDirectory(prefix="resolve-", dir=place) as scratch:
            source = _lines_file(Path(scratch) / "requirements.in", self.trees.lines_for_uv(lines))
            arguments = ["pip", "compile", *words, *([os.fspath(source)] if lines or not words else [])]
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
                return with_absolute_paths(tomllib.loads(output.read_text(encoding="utf-8")), Path(scratch))
            except ToolFailed as error:
                if not any(sign in error.words for sign in _NEEDS_A_BUILD):
                    raise explain_tags(error.words, self.target.python) or self._explain(error) from error
                return self._compile_in_container(arguments, Path(scratch), error)

    def _stub_wheel_arguments(self) -> list[str]:
        """All places of `--find-links` as arguments, since one argument makes uv pass over its variable."""
        if self.stub_wheels is None:
            return []
        variable = self.settings.env.get("UV_FIND_LINKS") or self.environ.get("UV_FIND_LINKS", "")
        places = [*filter(None, variable.split(",")), os.fspath(self.stub_wheels.directory())]
        return [word for place in places for word in ("--find-links", place)]

    def _compile_in_container(self, arguments: Sequence[str], work: Path, refusal: ToolFailed) -> dict[str, Any]:
        """A package without wheels tells its dependencies only when its own code runs: never on this machine."""
        if self.sdists is None:
            raise ConfigError(
                f"a requirement has no wheel for this Python, only source: {self.trees.as_written(refusal.words)}",
                hint="require a version that has a wheel",
            ) from refusal
        import tomllib

        from runtime.build.wheels.sdist import uv_in_container
        from runtime.errors import RuntimeFailure
        from runtime.rootfs.mount_spec import BindMount

        readable = [Path(place) for place in (*self.settings.constraints, *self.settings.find_links) if "://" not in place]
        readable += [*self.wanted.files, work / "requirements.in", work / "barred.txt", work / "build.txt"]
        output = work / "work" / "pylock.toml"
        output.parent.mkdir()
        words = [
            *arguments,
            "--python",
            self.sdists.python,
            "-o",
            f"{_WORK}/{output.name}",
            *self.settings.uv_args,
        ]
        if self.stub_wheels is not None:
            readable.append(self.stub_wheels.directory())
            output.write_text(self.stub_wheels.preferences(), encoding="utf-8")
            build = _lines_file(work / "build.txt", self.stub_wheels.build_constraints())
            words += ["--build-constraint", os.fspath(build)]
        for attempt in count():
            try:
                uv_in_container(
                    [*words, *self.trees.overrides()],
                    layers=self.sdists.layers(),
                    env=self.settings.env,
                    base_env=self.sdists.env,
                    on_base=self.sdists.has_packages,
                    readable=readable,
                    binds=[BindMount(self.trees.directory, os.fspath(self.trees.directory), readonly=False)],
                    work=work / "work",
                    overlay_dir=work / f"overlay-{attempt}",
                    network="host",
                )
                break
            except RuntimeFailure as error:
                if not self.trees.fetch_what_lacks_git(str(error)):
                    raise self._explain(error) from error
        return with_absolute_paths(tomllib.loads(output.read_text(encoding="utf-8")), _WORK)

    def _call(self, arguments: Sequence[str]) -> str:
        from runtime.build.wheels.uv_program import cache_arguments, run_uv, this_interpreter, uv_environment
        from runtime.errors import NetworkError

        env = uv_environment(self.environ, self.settings.env)
        words = [*arguments, *this_interpreter(), *cache_arguments(None, self.environ)]
        if arguments[0] == "pip":
            words += self.settings.uv_args
        try:
            return run_uv(words, env=env, cwd=self.directory)
        except NetworkError as error:
            hint = error.hint if self.backend in (None, "auto") else f"{_TORCH_INDEX.format(self.backend)}\n{error.hint}"
            raise LaunchError(error.message, hint=hint) from error

    def _explain(self, error: Exception) -> LaunchError:
        """uv's words as an error of the person's configuration, or of the launcher's surroundings."""
        from runtime.errors import RuntimeFailure, ToolFailed

        if isinstance(error, ToolFailed):
            words = self.trees.as_written(error.words)
            return ConfigError(f"the requirements cannot be resolved: {words}", hint=error.hint)
        return LaunchError(str(error), hint=error.hint if isinstance(error, RuntimeFailure) else None)

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


def _keep_addresses(document: dict[str, Any], project: RequirementsFile) -> dict[str, Any]:
    """Mark the files that our download would not find by name (`project_indexes.py`). A pylock.toml from
    elsewhere names indexes itself: those that are no ordinary index (torch's) count.
    """
    from launcher.plan.requirements.formats.project_indexes import project_indexes

    bound = project_indexes(project).bound
    for package in document.get("packages", ()):
        index = str(package.get("index") or "").rstrip("/")
        foreign = project.kind is Kind.PYLOCK and index and not index.endswith("/simple")
        if foreign or canonicalize_name(package["name"]) in bound:
            package["tool"] = KEEP_ADDRESS
    return document


def _with_files_of(pinned: Mapping[str, Any], joined: Mapping[str, Any]) -> dict[str, Any]:
    """*joined*, which was resolved together with what *pinned* has, with the files of *pinned* where the version stayed."""
    known = {(canonicalize_name(each["name"]), each.get("version")): each for each in pinned.get("packages", ())}
    packages = [known.get((canonicalize_name(each["name"]), each.get("version")), each) for each in joined["packages"]]
    return {**joined, "packages": packages}


def _lines_file(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path
