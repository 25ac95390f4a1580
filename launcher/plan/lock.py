"""Resolve requirements to one exact file each, for the image's Python and platform.

uv resolves on this machine, with this machine's proxy, CA bundle, index settings and credentials, so that no image needs
them. Nothing is built here: a requirement that has source distributions only is asked about in a container (`sdist_layers`).
A resolution is recorded (`resolution_record.py`) and reused while its inputs are unchanged; then nothing heavy is imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.config.spec import Index
from launcher.errors import ConfigError, LaunchError
from launcher.plan.launch_plan import Lock, LockedWheel
from launcher.plan.requirements import RequirementSet, read_requirements
from launcher.plan.resolution_record import find_recorded, record, settings_digest
from runtime.oci.digest import Digest, digest_json

if TYPE_CHECKING:
    from launcher.plan.pip_settings import IndexSettings
    from launcher.plan.pylock import Target
    from launcher.plan.wheel_fit import Misfit
    from runtime.build.sources import WheelSource
    from runtime.errors import ToolFailed
    from runtime.state_dir import StateDir

SdistLayers = Callable[[], Sequence[Path]]
"""Builds the base when called, and gives its lower directories, bottom first: where code of an sdist may run."""


def resolve(
    requirements: Sequence[str] | str | Path,
    *,
    python: str,
    platform: str,
    libstdcxx: int | None = None,
    index: Index,
    cuda: str | None,
    state: StateDir,
    cache_dir: Path | None = None,
    base_dir: Path | None = None,
    extra: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
    refresh: bool = False,
    sdist_layers: SdistLayers | None = None,
) -> Lock:
    """The exact files that *requirements* and *extra* mean for *python* (`3.13.5`) on *platform* (`x86_64-manylinux_2_41`).

    *libstdcxx* is n of the newest `GLIBCXX_3.4.n` there: with the platform's glibc what a local build's libraries must do with.
    *base_dir* is what relative paths in *requirements* start from; *refresh* asks the index even if a resolution is recorded.
    """
    base_dir = base_dir or Path.cwd()
    wanted = read_requirements(requirements, base_dir=base_dir, extra=extra)
    request = request_digest(wanted, python=python, platform=platform, index=index, cuda=cuda)
    if wanted.empty:
        return Lock(python, platform, (), lock_digest(()), "resolved")
    directory = wanted.project.parent if wanted.project else base_dir
    driver = _driver() if cuda == "auto" else None
    key = digest_json([request, settings_digest(environ, directory), driver, os.fspath(directory), libstdcxx])
    if not refresh:
        recorded = find_recorded(state.cache / "locks", key)
        if recorded is not None:
            return recorded
    from launcher.plan.pip_settings import index_settings
    from launcher.plan.pylock import parse_target

    target = parse_target(python, platform)
    settings = index_settings(index, environ=environ, file_options=wanted.index_options, directory=directory)
    asking = _Asking(wanted, target, settings, cuda, cache_dir, directory, environ, state, sdist_layers, libstdcxx)
    lock, addresses = asking.lock(python, platform)
    watched = [place for place in (*settings.constraints, *settings.find_links) if "://" not in place]
    record(state.cache / "locks", key, lock, watched=watched, addresses=addresses)
    return lock


def request_digest(wanted: RequirementSet, *, python: str, platform: str, index: Index, cuda: str | None) -> Digest:
    """Digest of what the experiment asks for: the same on every machine, so a lock file can carry it. This machine's pip and
    uv settings and the index's address take no part."""
    minor = ".".join(python.split(".")[:2])
    return digest_json([wanted.digest, minor, platform, cuda, index.exclude_newer])


def current_lock(
    lock_file: Path,
    requirements: Sequence[str] | str | Path,
    *,
    python: str,
    platform: str,
    index: Index,
    cuda: str | None,
    base_dir: Path | None = None,
    extra: Sequence[str] = (),
) -> tuple[Lock | None, str | None]:
    """The lock in *lock_file* if it was made from these inputs; else None and why it can't be used, in words. No file at all
    is (None, None)."""
    from launcher.plan.lock_file import drift, read_lock_file

    found = read_lock_file(lock_file, python=python)
    if found is None:
        return None, None
    wanted = read_requirements(requirements, base_dir=base_dir or Path.cwd(), extra=extra)
    inputs = request_digest(wanted, python=python, platform=platform, index=index, cuda=cuda)
    why = drift(found, inputs=inputs, python=python, platform=platform)
    return (found.lock, None) if why is None else (None, why)


def lock_digest(wheels: Sequence[LockedWheel]) -> Digest:
    """Digest of names, versions and hashes."""
    return digest_json(sorted([wheel.name, wheel.version, wheel.sha256] for wheel in wheels))


def _driver() -> str | None:
    """The NVIDIA driver that `cuda: auto` looked at."""
    try:
        return Path("/sys/module/nvidia/version").read_text().strip()
    except OSError:
        return None


def torch_backend(cuda: str | None) -> str | None:
    """`image.cuda` in uv's words: `12.8` → `cu128`."""
    if cuda is None or cuda in ("auto", "cpu"):
        return cuda
    return "cu" + cuda.replace(".", "")


class _Asking:
    """One question to uv: all that it needs, and its answer as a Lock."""

    def __init__(
        self,
        wanted: RequirementSet,
        target: Target,
        settings: IndexSettings,
        cuda: str | None,
        cache_dir: Path | None,
        directory: Path,
        environ: Mapping[str, str],
        state: StateDir,
        sdist_layers: SdistLayers | None,
        libstdcxx: int | None,
    ) -> None:
        self.wanted = wanted
        self.target = target
        self.settings = settings
        self.backend = torch_backend(cuda)
        self.cache_dir = cache_dir
        self.directory = directory
        self.environ = environ
        self.state = state
        self.sdist_layers = sdist_layers
        self.libstdcxx = libstdcxx
        self.left_out: list[Misfit] = []
        self.barred: list[str] = []
        """`torch!=2.13.0+cpu`: versions of which no file fits."""

    def lock(self, python: str, platform: str) -> tuple[Lock, dict[str, str]]:
        """The lock, and the address of each of its files. Files that cannot load on the base are left out, one question to uv
        for each time that others took their place."""
        from launcher.plan.pylock import file_addresses
        from launcher.plan.wheel_fit import misfits, nothing_fits, warnings_of
        from runtime.build.wheel_needs import SystemLibraries

        # Ends: what was left out once is never chosen again.
        has = SystemLibraries(self.target.libc_version if self.target.libc == "manylinux" else (0, 0), self.libstdcxx)
        while True:
            try:
                document = self._document()
                torch = self._torch_variant(document)
                wheels = self._choose(document, torch)
            except ConfigError as error:
                if not self.left_out:
                    raise
                raise nothing_fits(self.left_out, error) from error
            addresses = file_addresses(document, wheels)
            unfit = misfits(wheels, addresses, has=has, cache_dir=self.state.cache)
            if not unfit:
                warnings = warnings_of(self.left_out, wheels)
                return Lock(python, platform, wheels, lock_digest(wheels), "resolved", torch=torch, warnings=warnings), addresses
            self._leave_out(unfit, document)

    def _choose(self, document: Mapping[str, Any], torch: str | None) -> tuple[LockedWheel, ...]:
        from launcher.plan.pylock import choose_files

        return choose_files(document, self.target, torch=torch, without={misfit.wheel.filename for misfit in self.left_out})

    def _leave_out(self, unfit: Sequence[Misfit], document: Mapping[str, Any]) -> None:
        """Bar the files of *unfit*; and their versions, where *document* has no other wheel of them."""
        from launcher.plan.pylock import has_wheel

        self.left_out += unfit
        names = {misfit.wheel.filename for misfit in self.left_out}
        for wheel in (misfit.wheel for misfit in unfit):
            if not has_wheel(document, wheel.name, self.target, without=names):
                self.barred.append(f"{wheel.name}!={wheel.version}")

    def _document(self) -> dict[str, Any]:
        import tomllib

        project = self.wanted.project
        if project is None:
            return tomllib.loads(self._compile(self.wanted.lines, None))
        if project.name == "pyproject.toml":
            return _keep_addresses(tomllib.loads(self._compile(self.wanted.lines, project)), project)
        if project.name == "uv.lock":
            text = self._call(["export", "--frozen", "--format", "pylock.toml", "--no-emit-project", "--no-dev"])
        else:
            text = project.read_text(encoding="utf-8")
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"cannot read `{project}`: {error}") from error
        _keep_addresses(document, project)
        if not self.wanted.lines:
            return document
        from launcher.plan.pylock import choose_files

        pinned = [f"{wheel.name}=={wheel.version}" for wheel in choose_files(document, self.target)]
        return tomllib.loads(self._compile([*pinned, *self.wanted.lines], None))

    def _compile(self, lines: Sequence[str], project: Path | None) -> str:
        import tempfile

        from runtime.errors import ToolFailed

        # Below the cache directory: a container may have to see it, and /tmp may be no file system for that.
        self.state.cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="resolve-", dir=self.state.cache) as scratch:
            source = Path(scratch) / "requirements.in"
            source.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
            arguments = ["pip", "compile", *([os.fspath(project)] if project else []), *([os.fspath(source)] if lines else [])]
            arguments += ["--format", "pylock.toml", "--no-header", "--no-annotate"]
            arguments += ["--python-version", self.target.python, "--python-platform", self.target.uv_platform]
            barred = Path(scratch) / "barred.txt"
            barred.write_text("".join(line + "\n" for line in self.barred), encoding="utf-8")
            for constraint in (*self.settings.constraints, *([os.fspath(barred)] if self.barred else [])):
                arguments += ["--constraint", constraint]
            if self.backend is not None:
                arguments += ["--torch-backend", self.backend]
            try:
                return self._call([*arguments, "--no-build"])
            except ToolFailed as error:
                if "no usable wheels" not in error.words:
                    raise _explained(error) from error
                return self._compile_in_container(arguments, Path(scratch), error)

    def _compile_in_container(self, arguments: Sequence[str], work: Path, refusal: ToolFailed) -> str:
        """A package without wheels tells its dependencies only when its own code runs: never on this machine."""
        if self.sdist_layers is None:
            raise ConfigError(
                f"a requirement has no wheel for this Python, only source: {refusal.words}",
                hint="require a version that has a wheel",
            ) from refusal
        from runtime.build.sdist import uv_in_container
        from runtime.errors import RuntimeFailure

        readable = [Path(place) for place in (*self.settings.constraints, *self.settings.find_links) if "://" not in place]
        readable += [*self.wanted.files, work / "requirements.in", work / "barred.txt"]
        output = work / "work" / "pylock.toml"
        output.parent.mkdir()
        python = f"python{self.target.minor[0]}.{self.target.minor[1]}"
        try:
            uv_in_container(
                [*arguments, "--python", python, "-o", f"/run/launch-build/work/{output.name}", *self.settings.uv_args],
                layers=self.sdist_layers(),
                env=self.settings.env,
                readable=readable,
                work=work / "work",
                overlay_dir=work / "overlay",
                network="host",
            )
            return output.read_text(encoding="utf-8")
        except RuntimeFailure as error:
            raise _explained(error) from error

    def _call(self, arguments: Sequence[str]) -> str:
        from runtime.build.uv_program import cache_arguments, run_uv, this_interpreter, uv_environment
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
    """Mark the files that our download would not find by name (`project_indexes.py`). A pylock.toml from elsewhere names
    indexes itself: those that are no ordinary index (torch's) count."""
    from launcher.plan.project_indexes import project_indexes
    from launcher.plan.pylock import normal_name

    bound = project_indexes(project).bound
    for package in document.get("packages", ()):
        index = str(package.get("index") or "").rstrip("/")
        foreign = project.name not in ("pyproject.toml", "uv.lock") and index and not index.endswith("/simple")
        for file in package.get("wheels", ()):
            file["keep_url"] = bool(foreign) or normal_name(package["name"]) in bound
    return document


def _explained(error: Exception) -> LaunchError:
    """uv's words as an error of the person's configuration, or of the launcher's surroundings."""
    from runtime.errors import RuntimeFailure, ToolFailed

    if isinstance(error, ToolFailed):
        return ConfigError(f"the requirements cannot be resolved: {error.words}", hint=error.hint)
    return LaunchError(str(error), hint=error.hint if isinstance(error, RuntimeFailure) else None)


def requirements_text(wheels: Sequence[LockedWheel]) -> str:
    """Requirements file syntax: one line for each file, with its hash. `===`, since `==2.13.0` is `2.13.0+cpu` as well (PEP 440),
    and uv would try that first where a find-links directory has it."""
    return "".join(
        f"{wheel.name} @ {wheel.url} --hash=sha256:{wheel.sha256}\n"
        if wheel.url
        else f"{wheel.name}==={wheel.version} --hash=sha256:{wheel.sha256}\n"
        for wheel in wheels
    )


def wheel_source(
    lock: Lock,
    requirements: Sequence[str] | str | Path,
    *,
    index: Index,
    base_dir: Path | None = None,
    extra: Sequence[str] = (),
    cache_dir: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    sdist_network: str = "host",
) -> WheelSource:
    """Where the files of *lock* come from: the same settings that resolved them. Reads pip's settings: call it only when
    something has to be downloaded."""
    from launcher.plan.pip_settings import index_settings
    from launcher.plan.project_indexes import project_indexes
    from launcher.plan.pylock import parse_target
    from runtime.build.sources import WheelSource

    base_dir = base_dir or Path.cwd()
    wanted = read_requirements(requirements, base_dir=base_dir, extra=extra)
    options = [*wanted.index_options, *(project_indexes(wanted.project).options if wanted.project else ())]
    settings = index_settings(index, environ=environ, file_options=options, directory=base_dir)
    target = parse_target(lock.python, lock.platform)
    args = ["--python-version", target.python, "--python-platform", target.uv_platform, *settings.uv_args]
    if lock.torch is not None:
        args += ["--torch-backend", lock.torch]
    chosen_cache = cache_dir or (Path(environ["UV_CACHE_DIR"]) if environ.get("UV_CACHE_DIR") else None)
    glibc = target.libc_version if target.libc == "manylinux" else None
    return WheelSource(tuple(args), settings.env, requirements_text(lock.wheels), chosen_cache, sdist_network, glibc)
