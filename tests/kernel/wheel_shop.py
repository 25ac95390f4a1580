"""Wheels, source distributions and trees of a test, made into layers on a base that is this machine's interpreter."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from runtime.build.cache_key import step_key
from runtime.build.observer import NullObserver
from runtime.build.plan import VENV, InstallTree, InstallWheel, MakeVenv
from runtime.build.sources import WheelSource
from runtime.build.wheels.apply_install_wheel import prepare_wheels
from runtime.build.wheels.apply_make_venv import apply_make_venv
from runtime.build.wheels.uv_program import uv_binary
from runtime.container.lifecycle import remove_overlay
from runtime.container.run_once import run_to_completion
from runtime.container.spec import ContainerSpec
from runtime.oci.digest import digest_bytes
from runtime.store.records import Layer
from runtime.store.store import Store

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
EXECUTABLE = os.path.realpath(sys.executable)
_LEFT_OUT = ("test", "tests", "site-packages", "idlelib", "tkinter", "turtledemo", "config-*", "__pycache__", "lib2to3", "*.a")


def python_layer(store: Store) -> Layer:
    """A base with this interpreter and nothing else."""
    with store.staging() as stage:
        root = stage / "root"
        for name in ("etc", "tmp", "proc", "sys", "dev", "run"):
            (root / name).mkdir(parents=True)
        stdlib = Path(os.__file__).parent
        shutil.copytree(stdlib, root / str(stdlib).lstrip("/"), ignore=shutil.ignore_patterns(*_LEFT_OUT))
        programs = [Path(EXECUTABLE), Path("/bin/sh"), Path(uv_binary()), *(stdlib / "lib-dynload").glob("*.so")]
        for path in {Path(EXECUTABLE), Path("/bin/sh"), *_libraries(programs)}:
            target = root / str(path).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        return store.publish(digest_bytes(b"python for tests"), root, label="python")


def _libraries(programs: list[Path]) -> set[Path]:
    said = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    return {Path(found) for found in re.findall(r"(/\S+\.so\S*) \(0x", said)}


class Shop:
    """A directory of wheels and source distributions, and a store in which they become layers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.wheels = directory / "wheels"
        self.wheels.mkdir(parents=True)
        self.steps: list[InstallWheel] = []

    def wheel(self, name: str, files: Mapping[str, str]) -> InstallWheel:
        info = f"{name}-1.0.dist-info"
        content = {
            **files,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        rows = [f"{path},sha256={_hash(text)},{len(text)}\n" for path, text in content.items()]
        content[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"])
        path = self.wheels / f"{name}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for inside, text in content.items():
                archive.writestr(inside, text)
        return self._step(name, path)

    def sdist(self, name: str, backend: str) -> InstallWheel:
        files = {
            "backend.py": backend,
            "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
            "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        }
        path = self.wheels / f"{name}-1.0.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for inside, text in files.items():
                member = tarfile.TarInfo(f"{name}-1.0/{inside}")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
        return self._step(name, path)

    def tree(self, step: InstallTree) -> InstallTree:
        """*step* for this interpreter."""
        self.steps.append(step)
        return step

    def _step(self, name: str, path: Path) -> InstallWheel:
        step = InstallWheel(name, "1.0", hashlib.sha256(path.read_bytes()).hexdigest(), path.name, "cpython-test", PYTHON)
        self.steps.append(step)
        return step

    def install(self, store: Store) -> Installed:
        base = python_layer(store)
        version = platform.python_version()
        made = MakeVenv("cpython-test", EXECUTABLE, version)
        venv = apply_make_venv(made, store=store)
        args = ("--no-index", "--python-version", version, "--python-platform", f"{platform.machine()}-manylinux_2_17")
        env = {"UV_FIND_LINKS": str(self.wheels), "UV_OFFLINE": "1"}
        source = WheelSource(args, env, "", self.directory / "uv-cache", "none")
        with prepare_wheels(self.steps, store=store, source=source, observer=NullObserver()) as prepared:
            prepared.install([base], venv, made)
        return Installed(store, [base, venv], {step: _found(store, step) for step in self.steps})


def _found(store: Store, step: InstallWheel) -> Layer:
    layer = store.find(step_key(step, None))
    assert layer is not None
    return layer


class Installed:
    def __init__(self, store: Store, below: list[Layer], wheels: dict[InstallWheel, Layer]) -> None:
        self.store = store
        self.below = below
        self.wheels = wheels

    def run(self, *argv: str) -> str:
        """Output of *argv* in a container on all layers."""
        overlay = self.store.root / "overlay"
        spec = ContainerSpec(
            container_id=f"test-wheels-{os.getpid()}",
            layers=tuple(self.store.layer_dir(layer) for layer in (*self.below, *self.wheels.values())),
            overlay_dir=overlay,
            argv=argv,
            env={"PATH": f"{VENV}/bin:/usr/bin:/bin"},
        )
        try:
            ended, output = run_to_completion(spec, timeout_s=60)
        finally:
            remove_overlay(overlay)
        assert ended.code == 0, output.decode()
        return output.decode()


def _hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
