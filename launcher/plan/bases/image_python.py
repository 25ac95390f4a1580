"""The Python of an image that is not ours: asked once in a container, and recorded under the image's digest.

The image's own PATH finds it, so that conda's, a virtual environment's and the system's are found alike. What is behind a virtual
environment is the interpreter that wheels are installed for; its packages are named beside it (`own_packages`). What is installed
for either is asked along with it, for the resolver.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.errors import LaunchError
from launcher.plan.answers import keep_answer, read_answer
from launcher.plan.bases.base_packages import BasePackage, check_packages, from_rows, to_rows
from launcher.plan.bases.pinned_base import Base
from launcher.plan.bases.pinning import Pinning
from runtime.build.plan import VENV, BuildPlan, Interpreter
from runtime.light_dataclasses import dataclass, replace
from runtime.oci.digest import Digest
from runtime.state_dir import StateDir

if TYPE_CHECKING:
    from runtime.build.sources import BuildSources

_FORMAT = 4
_TIMEOUT_S = 60.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Printed on one line after whatever the interpreter's start may print. The binary's digest says which build it is. In a virtual
# environment the interpreter behind it is asked for its own path: our environment sees both, in this order.
_QUESTION = """
import glob, hashlib, json, os, site, subprocess, sys
path = os.path.realpath(sys.executable)
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION")
except (ValueError, OSError):
    libc = None
prefix = getattr(sys, "base_prefix", sys.prefix)
inside = sys.prefix != prefix
places = list(sys.path)
if inside:
    try:
        told = subprocess.check_output([path, "-I", "-c", "import json, sys; print(json.dumps(sys.path))"])
        places += json.loads(told.decode().splitlines()[-1])
    except Exception:
        pass

def size_of(each):
    record = each.read_text("RECORD")
    if record is not None:
        sizes = (line.rpartition(",")[2].strip() for line in record.splitlines())
        return sum(int(size) for size in sizes if size.isdigit())
    total = 0
    for top in (each.read_text("top_level.txt") or "").split():
        for directory, _, files in os.walk(str(each.locate_file(top))):
            total += sum(os.lstat(os.path.join(directory, name)).st_size for name in files)
    return total

def installed():
    try:
        from importlib.metadata import distributions
    except ImportError:
        return
    for each in distributions(path=places):
        try:
            extras = each.metadata.get_all("Provides-Extra") or []
            yield {"name": each.metadata["Name"], "version": each.version, "requires": list(each.requires or []),
                "extras": [str(extra) for extra in extras], "size": size_of(each)}
        except Exception:
            continue

print("\\n" + json.dumps({
    "executable": path,
    "version": "%d.%d.%d" % sys.version_info[:3],
    "sha256": hashlib.sha256(open(path, "rb").read()).hexdigest(),
    "libc": libc,
    "machine": os.uname().machine,
    "libstdcxx": sorted(os.path.basename(os.path.realpath(library))
        for pattern in ("/usr/lib*/libstdc++.so.6", "/usr/lib/*/libstdc++.so.6") for library in glob.glob(pattern)),
    "own_packages": site.getsitepackages([sys.prefix]) if inside else [],
    "taken": sorted(glob.glob("VENV*")),
    "packages": list(installed()),
}))
""".replace("VENV", VENV)
_LONGEST_ANSWER = 16 << 20


@dataclass(frozen=True, slots=True)
class ImagePython:
    """What the `python3` of an image says of itself."""

    interpreter: Interpreter
    platform: str
    """As wheels name it: `x86_64-manylinux_2_36`."""
    libstdcxx: int | None
    """n of the newest `GLIBCXX_3.4.n` in the image's libstdc++, where there is one."""
    own_packages: tuple[str, ...] = ()
    """Directories of the virtual environment that it was found in."""
    packages: tuple[BasePackage, ...] = ()
    """What is installed there and for the interpreter itself."""
    venv: str = VENV
    """Where ours goes: VENV, or beside it where the image has something there."""

    def on(self, base: Base) -> Base:
        """*base* with this Python in it."""
        return replace(
            base,
            interpreter=self.interpreter,
            platform=self.platform,
            libstdcxx=self.libstdcxx,
            python_packages=self.own_packages,
            installed=self.packages,
            venv=self.venv,
        )


def with_python(
    base: Base, plan: BuildPlan, pinning: Pinning, *, name: str, sources: Callable[[], BuildSources] | None = None
) -> Base:
    """*base* with its Python, if it has one. *plan* is built to ask it, from *sources*, where no answer is recorded under the
    base's digest; *name* is for people."""
    record = pinning.state.cache / "bases" / f"imported-{base.digest.hex}.json"
    document = read_answer(record, lambda known: {"python": known["python"]}, format=_FORMAT)
    if document is None:
        layers = pinning.built_layers(plan, None if sources is None else sources())
        answer = _ask(layers, base.env, name, pinning.state)
        if answer is not None:
            answer["packages"] = to_rows(check_packages(answer["packages"]))
        document = {"format": _FORMAT, "reference": name, "python": answer}
        keep_answer(record, document)
    python = document["python"]
    return base if python is None else _from_answer(python).on(base)


def _from_answer(python: Mapping[str, Any]) -> ImagePython:
    return ImagePython(
        interpreter=Interpreter(python["executable"], python["version"], Digest(f"sha256:{python['sha256']}")),
        platform=_platform(python),
        libstdcxx=_libstdcxx(python["libstdcxx"]),
        own_packages=tuple(python["own_packages"]),
        packages=from_rows(python["packages"]),
        venv=_free_place(python["taken"]),
    )


def _free_place(taken: Sequence[str]) -> str:
    """`/opt/venv`, else the first of `/opt/venv2`, `/opt/venv3`, … that is not *taken*."""
    places = (VENV, *(f"{VENV}{number}" for number in range(2, len(taken) + 3)))
    return next(place for place in places if place not in taken)


def _platform(python: Mapping[str, Any]) -> str:
    """`x86_64-manylinux_2_36` from `glibc 2.36`; musl has no version to ask for, and every musl in use runs 1.2's wheels."""
    libc = python["libc"]
    suffix = f"manylinux_{libc.removeprefix('glibc ').replace('.', '_')}" if libc else "musllinux_1_2"
    return f"{python['machine']}-{suffix}"


def _libstdcxx(names: Sequence[str]) -> int | None:
    """30 from `libstdc++.so.6.0.30`: the file is named after the newest of its symbol versions, GLIBCXX_3.4.30."""
    numbers = [name.removeprefix("libstdc++.so.6.0.") for name in names]
    return max((int(number) for number in numbers if number.isdigit()), default=None)


def _ask(layers: Sequence[Path], env: Mapping[str, str], name: str, state: StateDir) -> dict[str, Any] | None:
    from runtime.container.run_once import run_to_completion
    from runtime.container.spec import ContainerSpec
    from runtime.store.store import Store

    with Store(state.store).container_staging() as staging:
        overlay = Path(staging) / "overlay"
        overlay.mkdir(mode=0o700)
        spec = ContainerSpec(
            container_id=f"ask-{os.getpid()}",
            layers=tuple(layers),
            overlay_dir=overlay,
            argv=("python3", "-I", "-c", _QUESTION),
            env={"PATH": _PATH, "HOME": "/root", **env},
        )
        said = bytearray()
        ended, _ = run_to_completion(spec, timeout_s=_TIMEOUT_S, output=lambda chunk: _keep_end(said, chunk))
    lines = said.decode(errors="replace").strip().splitlines()
    # 127 with other words than ours is ld.so, which cannot start the one that is there.
    if ended.shell_code == 127 and lines and lines[-1].startswith("launch: "):
        return None
    if ended.shell_code != 0 or not lines:
        raise LaunchError(f"python3 in `{name}` exited with {ended.shell_code}: {' '.join(lines[-3:])}")
    try:
        answer: dict[str, Any] = json.loads(lines[-1])
    except ValueError as error:
        raise LaunchError(f"python3 in `{name}` answers with something else than was asked: {lines[-1]:.200}") from error
    return answer


def _keep_end(said: bytearray, chunk: bytes) -> None:
    said += chunk
    if len(said) > _LONGEST_ANSWER:
        del said[:-_LONGEST_ANSWER]
