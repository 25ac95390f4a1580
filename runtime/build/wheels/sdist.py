"""Source distributions and trees: whatever runs their code runs in a container on the image's base, under the image's Python.

The container has uv (bound read-only), a network, the index settings that the question needs, the host's CA bundle, and one
writable directory. It sees neither the host's files nor uv's shared cache; each source distribution gets a container and a
cache of its own, so that none can touch what another installs. What comes out is treated as hostile (`wheel_tree.py`).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from runtime.build.observer import BuildObserver
from runtime.build.plan import LAYER_MTIME_S, InstallTree, InstallWheel, MakeVenv
from runtime.build.sources import WheelSource
from runtime.build.wheels.build_failure import build_error
from runtime.build.wheels.bytecode import interpreter_env
from runtime.build.wheels.source_tree import SourceTree, make_source_tree
from runtime.build.wheels.uv_program import failure, uv_binary
from runtime.build.wheels.wheel_fetch import install_arguments, requirements_of, unpacked_directories
from runtime.container.spec import ContainerSpec
from runtime.errors import BadContent, NetworkError, ToolFailed
from runtime.light_dataclasses import dataclass
from runtime.network.mode import NetworkMode
from runtime.rootfs.mount_spec import BindMount

_PLACE = "/run/launch-build"
_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
_BUILD_FAILED = ("ailed to build", "build backend", "build-system.requires")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy")
_NETWORKS: dict[str, NetworkMode] = {"none": "none", "host": "host", "bridge": "bridge"}


class BuiltWheel(NamedTuple):
    """What a build left."""

    unpacked: Path
    """The wheel, in a directory."""
    tree: SourceTree | None
    """What it was built from, where that was a tree."""


def build_wheels(
    sdists: Sequence[InstallWheel],
    *,
    layers: Sequence[Path],
    venv: MakeVenv,
    source: WheelSource,
    scratch: Path,
    observer: BuildObserver,
) -> dict[InstallWheel, BuiltWheel]:
    """Build each of *sdists* on *layers* (base and virtual environment *venv*, bottom first).

    *scratch* is made, on the store's file system. Raises BuildError with what the build said.
    """
    built = {}
    scratch.mkdir(mode=0o700)
    for step in sdists:
        observer.message(f"building `{step.filename}` in a container")
        # Two packages may come from one tree.
        work = scratch / f"{step.sha256[:32]}-{step.name}"
        work.mkdir(mode=0o700)
        tree = None
        if isinstance(step, InstallTree):
            tree = make_source_tree(step, work, environ=os.environ, addresses=source.git_addresses)
        (work / "requirements.txt").write_text(tree.requirement if tree else requirements_of([step], source), encoding="utf-8")
        # uv checks hashes of files only; those of a tree were checked when it was made.
        arguments = install_arguments(f"{_PLACE}/work/linked", f"{_PLACE}/work/requirements.txt", hashes=tree is None)
        if source.build_constraints:
            (work / "build.txt").write_text("".join(f"{line}\n" for line in source.build_constraints), encoding="utf-8")
            arguments += ["--build-constraint", f"{_PLACE}/work/build.txt"]
        try:
            uv_in_container(
                [*arguments, "--python", f"{venv.prefix}/bin/python3", *source.uv_args],
                layers=layers,
                env=source.env,
                base_env=interpreter_env(venv),
                on_base=venv.system_site_packages,
                readable=_local_places(source.env),
                binds=tree.binds if tree else (),
                work=work,
                overlay_dir=scratch / f"overlay-{work.name}",
                network=source.sdist_network,
            )
        except ToolFailed as error:
            raise build_error(step, error.words, source.other_pythons.get(step.filename)) from error
        seen = unpacked_directories([step], work / "linked")[step]
        built[step] = BuiltWheel(_on_this_side(seen, work), tree)
    return built


def _on_this_side(seen: Path, work: Path) -> Path:
    """The host's path of a directory that the container named. Links that its code made must not lead out of *work*."""
    inside = os.path.relpath(seen, f"{_PLACE}/work")
    real = Path(os.path.realpath(work / inside))
    if not real.is_relative_to(os.path.realpath(work)) or inside.startswith(".."):
        raise BadContent(f"a source distribution's build left a wheel outside its directory: `{seen}`")
    return real


def _local_places(env: Mapping[str, str]) -> list[Path]:
    """find-links directories, which uv in the container reads under their own names."""
    return [Path(place) for place in env.get("UV_FIND_LINKS", "").split(",") if place.startswith("/")]


def uv_in_container(
    arguments: Sequence[str],
    *,
    layers: Sequence[Path],
    env: Mapping[str, str],
    readable: Sequence[Path],
    work: Path,
    overlay_dir: Path,
    network: str,
    binds: Sequence[BindMount] = (),
    base_env: Mapping[str, str] = MappingProxyType({}),
    on_base: bool = False,
) -> None:
    """Run uv in a container on *layers*, whose interpreter wants *base_env*. *work* is its one writable directory, seen at
    `/run/launch-build/work`; *readable* places are seen under their own names. *overlay_dir* must not lie in *work*: a bind mount
    takes along what is mounted below it; *binds* are mounted, too.

    *on_base*: what doesn't build in an environment of its own is tried with what the base has installed (a CUDA extension that
    imports the base's torch while it is built). Raises ToolFailed with uv's words, or NetworkError.
    """
    all_binds = [
        *binds,
        BindMount(Path(uv_binary()), f"{_PLACE}/uv"),
        BindMount(work, f"{_PLACE}/work", readonly=False),
        *(BindMount(place, os.fspath(place), executable=False) for place in dict.fromkeys(readable) if place.exists()),
    ]
    variables = {"PATH": _PATH, **base_env, **_variables(env)}
    bundle = _ca_bundle(env)
    if bundle is not None:
        all_binds.append(BindMount(bundle, f"{_PLACE}/ca.pem", executable=False))
        variables["SSL_CERT_FILE"] = f"{_PLACE}/ca.pem"
    seen = _Surroundings(tuple(layers), all_binds, variables, _NETWORKS[network])
    words = [*arguments, "--no-python-downloads", "--no-config"]
    try:
        _run_uv(words, seen, overlay_dir)
    except ToolFailed as isolated:
        if not on_base or not any(sign in isolated.words for sign in _BUILD_FAILED):
            raise
        try:
            _run_uv([*words, "--no-build-isolation"], seen, overlay_dir.with_name(f"{overlay_dir.name}-on-base"))
        except ToolFailed as error:
            isolated.add_note(f"and with the base's own packages: {error.words}")
            raise isolated from error


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What uv finds in its container."""

    layers: tuple[Path, ...]
    binds: list[BindMount]
    env: dict[str, str]
    network: NetworkMode


def _run_uv(words: Sequence[str], seen: _Surroundings, overlay_dir: Path) -> None:
    from runtime.container.run_once import run_to_completion

    overlay_dir.mkdir(mode=0o700)
    spec = ContainerSpec(
        container_id=f"sdist-{secrets.token_hex(4)}",
        layers=seen.layers,
        overlay_dir=overlay_dir,
        argv=(f"{_PLACE}/uv", *words),
        env=seen.env,
        cwd="/tmp",
        binds=tuple(seen.binds),
        network=seen.network,
        build=True,
    )
    ended, tail = run_to_completion(spec)
    if ended.shell_code != 0:
        raised: ToolFailed | NetworkError = failure(words, ended.shell_code, tail.decode("utf-8", "replace"))
        raise raised


def _variables(env: Mapping[str, str]) -> dict[str, str]:
    return {
        "HOME": "/tmp",
        "LC_ALL": "C.UTF-8",
        "SOURCE_DATE_EPOCH": str(LAYER_MTIME_S),
        "PYTHONHASHSEED": "0",
        "UV_CACHE_DIR": f"{_PLACE}/work/cache",
        "UV_NO_PROGRESS": "1",
        "NO_COLOR": "1",
        **{name: os.environ[name] for name in _PROXIES if name in os.environ},
        **env,
    }


def _ca_bundle(env: Mapping[str, str]) -> Path | None:
    """The host's CA bundle: the base may have none, or not the one that a company's proxy needs."""
    for named in (env.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt"):
        if named and os.path.isfile(named):
            return Path(os.path.realpath(named))
    return None
