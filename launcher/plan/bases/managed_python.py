"""A Python of uv's (python-build-standalone) for a Debian base that has another one: one archive, pinned by its sha256.

uv knows where its builds are and what their sha256 is; its own settings name a mirror (`python-install-mirror`) or another list
(`python-downloads-json-url`). It fetches the archive once, which checks it, and the store keeps it. What it was is recorded below
the state directory or kept in the base's lock, so that uv is asked once. The layer depends on the archive alone.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from launcher.errors import LaunchError
from launcher.plan.answers import keep_answer, read_answer
from launcher.plan.bases.pinned_base import Base
from launcher.plan.bases.pinning import Pinning
from runtime.build.plan import CopyFiles, FetchedFile, Interpreter, RunCommand, Step, minor_of
from runtime.oci.digest import Digest

_PREFIX = "/opt/python"
"""The archive holds one directory, `python`."""
_FORMAT = 1
_MIRROR_HINT = "`UV_PYTHON_INSTALL_MIRROR`, or `python-install-mirror` of uv.toml, names a mirror of uv's Pythons (`file://` too)"

# The builds name the compiler and the place they were made with; C extensions are built with what they name.
_RELOCATE = f"sed -i 's,/install\\b,{_PREFIX},g; s/clang++/c++/g; s/\\bclang\\b/cc/g' {_PREFIX}/lib/python3*/_sysconfigdata*.py"


class ManagedPython(NamedTuple):
    """One build of uv's."""

    version: str
    """`3.12.13`"""
    address: str
    sha256: str

    @property
    def file(self) -> str:
        """Release and name, which all mirrors have alike: `20261009/cpython-3.12.13%2B20261009-….tar.gz`."""
        return "/".join(self.address.split("/")[-2:])

    @property
    def steps(self) -> tuple[Step, ...]:
        """What puts it on a Debian base."""
        name = self.address.rpartition("/")[2]
        fetched = FetchedFile(self.address, Digest(f"sha256:{self.sha256}"), name)
        label = f"uv's Python {self.version}"
        unpacked = CopyFiles(fetched, f"{os.path.dirname(_PREFIX)}/", unpack=True, link=True, label=label)
        return unpacked, RunCommand(("/bin/sh", "-ec", _RELOCATE), label=f"settings of {label}")

    @property
    def interpreter(self) -> Interpreter:
        return Interpreter(f"{_PREFIX}/bin/python{minor_of(self.version)}", self.version, Digest(f"sha256:{self.sha256}"))


def pin_managed_python(wanted: str, pinning: Pinning, *, locked: ManagedPython | None = None) -> ManagedPython:
    """uv's Python *wanted*, `3.12` or `3.12.1`: that of a lock, else as recorded, else the newest that uv knows.

    *locked* has no root in its address: locks hold for every mirror.
    """
    recorded = None if pinning.refresh else recorded_python(wanted, pinning)
    if recorded is not None and (locked is None or locked.sha256 == recorded.sha256):
        return recorded
    version, address = _ask_uv(wanted if locked is None else minor_of(wanted), pinning)
    if locked is not None:
        root = address.rsplit("/", 2)[0]
        found = locked._replace(address=f"{root}/{locked.file}")
    else:
        found = ManagedPython(version, address, _fetch(version, pinning))
    keep_answer(_record(wanted, pinning), {"format": _FORMAT, **found._asdict()})
    return found


def managed_python(base: Base) -> ManagedPython | None:
    """That of *base*, if it has one."""
    for step in base.steps:
        if isinstance(step, CopyFiles) and isinstance(step.source, FetchedFile) and base.interpreter is not None:
            return ManagedPython(base.interpreter.version, step.source.url, step.source.digest.hex)
    return None


def recorded_python(wanted: str, pinning: Pinning) -> ManagedPython | None:
    """What uv answered for *wanted* before."""
    return read_answer(
        _record(wanted, pinning), lambda known: ManagedPython(known["version"], known["address"], known["sha256"]), format=_FORMAT
    )


def _record(wanted: str, pinning: Pinning) -> Path:
    return pinning.state.cache / "bases" / f"uv-python-{wanted}-{os.uname().machine}.json"


def _ask_uv(wanted: str, pinning: Pinning) -> tuple[str, str]:
    """Version and address of the newest build of *wanted*, as uv lists it, without the credentials of a mirror."""
    from launcher.plan.code.git_repository import without_credentials

    listed: list[dict[str, Any]] = json.loads(
        _call(["list", _key(wanted), "--only-downloads", "--all-versions", "--output-format", "json"], wanted, pinning)
    )
    for build in listed:
        if build["variant"] == "default" and build["version"].replace(".", "").isdigit() and build["url"]:
            return build["version"], without_credentials(build["url"])
    hint = "a newer uv may know it: `uv python list --all-versions` names those that yours knows"
    raise LaunchError(f"uv knows no build of Python {wanted} for this machine", hint=hint)


def _fetch(version: str, pinning: Pinning) -> str:
    """Have uv fetch and check the archive of *version*, and keep it in the store; its sha256."""
    from runtime.store.store import Store

    store = Store(pinning.state.store).ensure()
    with store.staging() as staging, pinning.working(f"fetching uv's Python {version}"):
        archives = staging / "archives"
        settings = {"UV_PYTHON_CACHE_DIR": os.fspath(archives)}
        _call(["install", _key(version), "--no-bin", "--install-dir", os.fspath(staging / "python")], version, pinning, settings)
        (archive,) = (path for path in archives.iterdir() if path.is_file())
        with archive.open("rb") as content:
            digest, _ = store.put_blob(iter(lambda: content.read(1 << 20), b""))
    return digest.hex


def _key(version: str) -> str:
    return f"cpython-{version}-linux-{os.uname().machine}-gnu"


def _call(words: list[str], version: str, pinning: Pinning, settings: dict[str, str] | None = None) -> str:
    from launcher.config.spec import Index
    from launcher.plan.requirements.pip_settings import index_settings
    from runtime.build.wheels.uv_program import cache_arguments, run_uv, uv_environment
    from runtime.errors import NetworkError, ToolFailed

    transport = index_settings(Index(), environ=pinning.environ).env
    env = uv_environment(pinning.environ, {**transport, **(settings or {})})
    try:
        return run_uv(["python", *words, *cache_arguments(None, pinning.environ)], env=env, cwd=Path.cwd())
    except (NetworkError, ToolFailed) as error:
        said = getattr(error, "words", error.message).strip().splitlines()
        lines = [line.strip() for line in said if line.strip()] or [error.message]
        causes = [line for line in lines if line.startswith("cause: ")] or lines
        why = causes[-1].removeprefix("cause: ")
        raise LaunchError(f"uv's Python {version} cannot be had: {why}", hint=_MIRROR_HINT) from error
