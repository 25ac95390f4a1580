"""Wheels become layers: fetched by the real uv from a directory, compiled in a real container, and used in one.

The base is this machine's interpreter with the libraries that it needs, so nothing is downloaded.
"""

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

import pytest

from runtime.build.observer import NullObserver
from runtime.build.plan import VENV, InstallWheel, MakeVenv
from runtime.build.sources import WheelSource
from runtime.build.wheels.apply_install_wheel import prepare_wheels, shared_paths
from runtime.build.wheels.apply_make_venv import apply_make_venv
from runtime.build.wheels.uv_program import uv_binary
from runtime.container.lifecycle import remove_overlay
from runtime.container.run_once import run_to_completion
from runtime.container.spec import ContainerSpec
from runtime.errors import BuildError
from runtime.oci.digest import digest_bytes
from runtime.store.records import Layer
from runtime.store.store import Store

pytestmark = pytest.mark.requires("overlayfs", "userns")

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
            layers = prepared.install([base], venv, made)
        return Installed(store, [base, venv], {step: layers[step] for step in self.steps})


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


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    tmp_path.chmod(0o755)
    return Shop(tmp_path / "shop")


def fill(shop: Shop) -> None:
    """Two halves of a namespace package, a console script, data, and set constants that two files share."""
    sets = "def f(x):\n    return x in {'zq_one', 'zq_two'}\n\ndef g(x):\n    return 'more', x in {'zq_one', 'zq_two'}\n"
    scripts = "[console_scripts]\ngreet = space.one:main\n"
    main = "def main():\n    print('hello from', __name__)\n"
    shop.wheel("one", {"space/one.py": main, "space/sets.py": sets, "one-1.0.dist-info/entry_points.txt": scripts})
    shop.wheel("two", {"space/two/__init__.py": "NAMES = ('zq_one', 'zq_two')\n", "two-1.0.data/data/share/two.txt": "data\n"})


def test_wheels_work_together_in_a_container(shop: Shop, store: Store) -> None:
    fill(shop)
    installed = shop.install(store)
    assert "hello from space.one\n" == installed.run("greet")
    code = (
        "import sys, importlib.metadata as m, space.one, space.two, pathlib\n"
        "print(sys.prefix, pathlib.Path(sys.prefix, 'share/two.txt').read_text().strip())\n"
        "print(all(f.locate().exists() for d in ('one', 'two') for f in m.files(d)))\n"
        "print(m.distribution('one').read_text('INSTALLER'))"
    )
    assert f"{VENV} data\nTrue\nlaunch\n\n" == installed.run("python3", "-c", code)


def test_python_compiles_nothing_when_it_imports(shop: Shop, store: Store) -> None:
    fill(shop)
    said = shop.install(store).run("python3", "-v", "-c", "import space.one, space.two, space.sets")
    ours = [line for line in said.splitlines() if "code object from" in line and "/opt/venv/" in line]
    assert 3 == len(ours)
    assert [] == [line for line in ours if ".pyc'" not in line]


def test_two_empty_stores_get_equal_layers(shop: Shop, tmp_path: Path) -> None:
    fill(shop)
    first = shop.install(Store(tmp_path / "first").ensure())
    before = os.umask(0o077)
    shop.steps.reverse()
    try:
        second = shop.install(Store(tmp_path / "second").ensure())
    finally:
        os.umask(before)
    assert {step: layer.diff_id for step, layer in first.wheels.items()} == {
        step: layer.diff_id for step, layer in second.wheels.items()
    }


def test_of_two_wheels_with_one_file_the_later_wins_and_is_named(shop: Shop, store: Store) -> None:
    shop.wheel("first", {"same.py": "x = 'first'\n", "equal.py": ""})
    shop.wheel("second", {"same.py": "x = 'second'\n", "equal.py": ""})
    installed = shop.install(store)
    assert "second\n" == installed.run("python3", "-c", "import same; print(same.x)")
    assert ["`second` replaces 1 file of `first`: same.py"] == shared_paths(list(installed.wheels.items()), store)


BACKEND = """
import base64, hashlib, os, zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    seen = "canary" if os.path.exists({canary!r}) else "nothing"
    files = {{
        "src_demo.py": f"seen = {{seen!r}}\\n",
        "src-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: src\\nVersion: 1.0\\n",
        "src-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }}
    def row(path, text):
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        return f"{{path}},sha256={{digest}},{{len(text)}}\\n"
    record = "".join(row(path, text) for path, text in files.items()) + "src-1.0.dist-info/RECORD,,\\n"
    with zipfile.ZipFile(os.path.join(wheel_directory, "src-1.0-py3-none-any.whl"), "w") as archive:
        for path, text in {{**files, "src-1.0.dist-info/RECORD": record}}.items():
            archive.writestr(path, text)
    return "src-1.0-py3-none-any.whl"
"""


def test_a_source_distribution_is_built_without_sight_of_this_machine(shop: Shop, store: Store, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("secret")
    shop.sdist("src", BACKEND.format(canary=str(canary)))
    assert "nothing\n" == shop.install(store).run("python3", "-c", "import src_demo; print(src_demo.seen)")


def test_a_build_that_fails_says_why_and_leaves_nothing(shop: Shop, store: Store) -> None:
    shop.sdist("src", "def build_wheel(*args, **more):\n    raise SystemExit('no compiler for you')\n")
    with pytest.raises(BuildError, match=r"cannot build `src-1\.0\.tar\.gz`[\s\S]*no compiler for you"):
        shop.install(store)
    assert [] == [path for path in (store.root / "tmp").iterdir() if path.is_dir()]
