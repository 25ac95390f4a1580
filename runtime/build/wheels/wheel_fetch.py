"""Download and verify wheels with uv, and find each wheel's unpacked directory in uv's cache.

uv has no download command and the layout of its cache is internal. One `uv pip install --link-mode symlink` into a scratch
directory fills the cache and makes every installed file a link into it: a wheel's `WHEEL` file leads to the directory in which
uv unpacked that wheel, in the wheel's own layout (with `.data` and RECORD), whatever the cache looks like inside. Several
wheels that share paths don't disturb each other there. Reading those directories is `wheel_tree.py`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from runtime.build.observer import BuildObserver
from runtime.build.plan import InstallWheel
from runtime.build.sources import WheelSource
from runtime.build.wheels.uv_program import cache_arguments, run_uv, this_interpreter, uv_environment
from runtime.build.wheels.wheel_tree import normal_name
from runtime.errors import BadContent, BuildError


def fetch_wheels(
    steps: Sequence[InstallWheel],
    *,
    source: WheelSource,
    scratch: Path,
    observer: BuildObserver,
    environ: Mapping[str, str] = os.environ,
) -> dict[InstallWheel, Path]:
    """The unpacked directory (read-only for us) of each wheel of *steps*; what the cache lacks is downloaded and verified.

    *scratch* is an empty directory. Raises NetworkError, or BuildError with uv's words.
    """
    requirements = scratch / "requirements.txt"
    requirements.write_text(requirements_of(steps, source), encoding="utf-8")
    arguments = install_arguments(scratch / "linked", requirements)
    arguments += ["--no-build", *this_interpreter(), *cache_arguments(source.cache_dir, environ), *source.uv_args]
    progress = _Progress(steps, observer)
    run_uv(arguments, env=uv_environment(environ, source.env), cwd=scratch, on_line=progress.line)
    return unpacked_directories(steps, scratch / "linked")


def install_arguments(target: Path | str, requirements: Path | str, *, hashes: bool = True) -> list[str]:
    """Arguments of uv that link the wheels of *requirements* below *target*; by default *hashes* are checked."""
    words = ["pip", "install", "--target", os.fspath(target), "--no-deps", "--link-mode", "symlink"]
    return [*words, *(["--require-hashes"] if hashes else []), "-r", os.fspath(requirements)]


def requirements_of(steps: Sequence[InstallWheel], source: WheelSource) -> str:
    """The lines of the locked requirements that *steps* need; a step that they don't name gets its line from the step."""
    locked = {match[1]: line for line in source.requirements.splitlines() if (match := re.search(r"sha256:([0-9a-f]{64})", line))}
    own = {step.sha256: f"{step.name}==={step.version} --hash=sha256:{step.sha256}" for step in steps}
    return "".join(locked.get(sha256, line) + "\n" for sha256, line in own.items())


def unpacked_directories(steps: Sequence[InstallWheel], linked: Path) -> dict[InstallWheel, Path]:
    """Follow the link of each wheel's WHEEL file below *linked* to the directory where uv unpacked it."""
    by_name: dict[str, Path] = {}
    for info in linked.glob("*.dist-info"):
        name = info.name.removesuffix(".dist-info").rpartition("-")[0]
        by_name[normal_name(name)] = info
    found = {}
    for step in steps:
        linked_info = by_name.get(normal_name(step.name))
        if linked_info is None:
            raise BuildError(f"uv installed no `{step.name} {step.version}`")
        try:
            wheel_file = Path(os.readlink(linked_info / "WHEEL"))
        except OSError as error:
            raise BuildError(
                f"uv did not link `{linked_info.name}/WHEEL` to its cache: {error}",
                hint="set UV_LINK_MODE to nothing; report uv's version",
            ) from error
        directory = wheel_file.parent.parent
        if wheel_file.parent.name != linked_info.name or not directory.is_absolute():
            raise BadContent(f"`{linked_info.name}/WHEEL` leads to `{wheel_file}`, which is no unpacked wheel")
        found[step] = directory
    return found


class _Progress:
    """uv's lines `Downloading numpy (15.0MiB)` and ` Downloaded numpy` as one growing number of bytes.

    uv names only files above 1 MiB, and all at their start: the total grows until the last has started.
    """

    def __init__(self, steps: Sequence[InstallWheel], observer: BuildObserver) -> None:
        self.names = {normal_name(step.name) for step in steps}
        self.observer = observer
        self.started: dict[str, int] = {}
        self.done = 0

    def line(self, text: str) -> None:
        if match := re.fullmatch(r"Downloading (\S+) \(([\d.]+)([KMG]i?)B\)", text.strip()):
            unit = 1024 ** (" KMG".index(match[3][0]))
            self.started[match[1]] = int(float(match[2]) * unit)
        elif match := re.fullmatch(r"Downloaded (\S+)", text.strip()):
            self.done += self.started.get(match[1], 0)
        else:
            if text.startswith("warning:"):
                self.observer.message(f"uv: {text.removeprefix('warning: ')}")
            return
        self.observer.download("wheels", self.done, sum(self.started.values()))
