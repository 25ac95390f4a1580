"""Pin an image from files as a base: its manifest's digest, and the Python in it, asked once in a container and recorded."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.errors import ConfigError, LaunchError, Origin
from launcher.plan.command_step import DIFFERS_EACH_TIME, RUN_NETWORK
from launcher.plan.debian_record import debian_architecture
from launcher.plan.pinned_base import Base
from runtime.build.image_source import inspect_image
from runtime.build.plan import BuildPlan, ImageConfig, ImportImage, Interpreter, RunCommand, Step
from runtime.errors import RuntimeFailure
from runtime.oci.digest import Digest
from runtime.state_dir import StateDir

_FORMAT = 2
_TIMEOUT_S = 60.0

# Printed on one line after whatever the interpreter's start may print. The binary's digest says which build it is.
_QUESTION = """
import glob, hashlib, json, os, sys
path = os.path.realpath(sys.executable)
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION")
except (ValueError, OSError):
    libc = None
print("\\n" + json.dumps({
    "executable": path,
    "version": "%d.%d.%d" % sys.version_info[:3],
    "sha256": hashlib.sha256(open(path, "rb").read()).hexdigest(),
    "libc": libc,
    "machine": os.uname().machine,
    "libstdcxx": sorted(os.path.basename(os.path.realpath(library))
        for pattern in ("/usr/lib*/libstdc++.so.6", "/usr/lib/*/libstdc++.so.6") for library in glob.glob(pattern)),
}))
"""


def pin_imported(reference: str, *, apt: Sequence[str], state: StateDir, origin: Origin | None = None) -> Base:
    """The image *reference* (`oci:DIR[:TAG]`, `docker-archive:FILE[:TAG]`) as a base, with *apt* packages on it."""
    architecture = debian_architecture()
    try:
        contents = inspect_image(reference, architecture=architecture)
    except RuntimeFailure as error:
        raise ConfigError(error.message, origin=origin, hint=error.hint) from error
    step = ImportImage(reference=reference, manifest_digest=contents.manifest_digest)
    python = _python_of(step, contents.env, state)
    steps: list[Step] = [step]
    if apt:
        steps.append(_apt_step(apt))
    return Base(
        steps=tuple(steps),
        digest=contents.manifest_digest,
        interpreter=_interpreter(python),
        platform=_platform(python),
        architecture=architecture,
        libstdcxx=_libstdcxx(python),
        env=contents.env,
    )


def _apt_step(packages: Sequence[str]) -> RunCommand:
    names = " ".join(shlex.quote(name) for name in packages)
    return RunCommand(
        argv=("/bin/sh", "-ec", f"apt-get update\napt-get install -y --no-install-recommends {names}"),
        env=(("DEBIAN_FRONTEND", "noninteractive"), ("HOME", "/root")),
        network=RUN_NETWORK,
        label=f"apt-get install {' '.join(packages)}",
        drop=DIFFERS_EACH_TIME,
    )


def _interpreter(python: dict[str, Any] | None) -> Interpreter | None:
    if python is None:
        return None
    return Interpreter(python["executable"], python["version"], Digest(f"sha256:{python['sha256']}"))


def _platform(python: dict[str, Any] | None) -> str:
    """`x86_64-manylinux_2_36` from `glibc 2.36`; musl has no version to ask for, and every musl in use runs 1.2's wheels."""
    if python is None:
        return ""
    libc = python["libc"]
    suffix = f"manylinux_{libc.removeprefix('glibc ').replace('.', '_')}" if libc else "musllinux_1_2"
    return f"{python['machine']}-{suffix}"


def _libstdcxx(python: dict[str, Any] | None) -> int | None:
    """30 from `libstdc++.so.6.0.30`: the file is named after the newest of its symbol versions, GLIBCXX_3.4.30."""
    names = python["libstdcxx"] if python is not None else []
    numbers = [name.removeprefix("libstdc++.so.6.0.") for name in names]
    return max((int(number) for number in numbers if number.isdigit()), default=None)


def _python_of(step: ImportImage, env: Mapping[str, str], state: StateDir) -> dict[str, Any] | None:
    """What the image's python3 says of itself; None when it has none."""
    record = state.cache / "bases" / f"imported-{step.manifest_digest.hex}.json"
    try:
        document = json.loads(record.read_bytes())
        if document["format"] == _FORMAT:
            found: dict[str, Any] | None = document["python"]
            return found
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        # Not recorded, or not readably: ask.
        found = None
    found = _ask(step, env, state)
    record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = record.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps({"format": _FORMAT, "reference": step.reference, "python": found}))
    os.replace(partial, record)
    return found


def _ask(step: ImportImage, env: Mapping[str, str], state: StateDir) -> dict[str, Any] | None:
    from runtime.build.builder import build
    from runtime.container.run_once import run_to_completion
    from runtime.container.spec import ContainerSpec
    from runtime.store.store import Store

    store = Store(state.store)
    image = build(BuildPlan(steps=(step,), config=ImageConfig()), store).image
    with store.staging() as staging:
        overlay = Path(staging) / "overlay"
        overlay.mkdir(mode=0o700)
        spec = ContainerSpec(
            container_id=f"ask-{os.getpid()}",
            layers=tuple(store.layer_dir(layer) for layer in image.layers),
            overlay_dir=overlay,
            argv=("python3", "-I", "-c", _QUESTION),
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", **env},
        )
        ended, tail = run_to_completion(spec, timeout_s=_TIMEOUT_S, output=None)
    if ended.shell_code == 127:
        return None
    lines = tail.decode(errors="replace").strip().splitlines()
    if ended.shell_code != 0 or not lines:
        raise LaunchError(f"python3 in `{step.reference}` exited with {ended.shell_code}: {' '.join(lines[-3:])}")
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer
