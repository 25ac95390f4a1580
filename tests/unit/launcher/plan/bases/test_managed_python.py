"""A Python of uv's is asked for once, checked by uv and pinned by its sha256; uv itself runs here, with a mirror of its own."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import pytest
from uv_mirror import write_mirror

from launcher.config.spec import ExperimentSpec, Image
from launcher.errors import ConfigError, LaunchError
from launcher.plan.bases.base_image import pin_base
from launcher.plan.bases.base_lock_file import base_lock_text, read_base_lock, read_locked_python
from launcher.plan.bases.managed_python import ManagedPython, managed_python, pin_managed_python, recorded_python
from launcher.plan.bases.pinning import Pinning
from launcher.plan.bases.python_choice import with_fitting_base
from launcher.plan.origins import where_in
from launcher.plan.pins import ImagePinner
from runtime.build.plan import CopyFiles, DebPackage
from runtime.errors import NetworkError
from runtime.state_dir import StateDir
from runtime.store.store import Store

DEBS = tuple(
    DebPackage(name, version, "amd64", "main", f"pool/{name}.deb", 5, "a" * 64)
    for name, version in (("libc6", "2.41-12"), ("python3.13-minimal", "3.13.5-2"))
)


class Mirror(NamedTuple):
    directory: Path
    file: Path
    sha256: str
    environ: dict[str, str]


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    """Where uv finds one Python, 3.12.7, and no registry is."""
    python, settings = tmp_path / "python3.12", tmp_path / "settings.py"
    python.write_text("#!/bin/sh\n")
    settings.write_text("# system configuration generated and used by the sysconfig module\nbuild_time_vars = {}\n")
    content = {"bin/python3.12": python, f"lib/python3.12/_sysconfigdata__linux_{os.uname().machine}-linux-gnu.py": settings}
    file, found = write_mirror(tmp_path, "3.12.7", content)
    (tmp_path / ".config/containers").mkdir(parents=True)
    registries = '[[registry]]\nprefix = "docker.io"\nlocation = "127.0.0.1:1"\ninsecure = true\n'
    (tmp_path / ".config/containers/registries.conf").write_text(registries)
    environ = {
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "UV_CACHE_DIR": str(tmp_path / "uv"),
        "UV_NO_CONFIG": "1",
        **found,
    }
    return Mirror(tmp_path / "mirror", file, hashlib.sha256(file.read_bytes()).hexdigest(), environ)


def locked_base(directory: Path, python: ManagedPython | None = None) -> Path:
    """An experiment whose base is locked, so that no archive is asked; its lock."""
    lock = directory / "x.base.lock"
    lock.write_text(base_lock_text(DEBS, (), suite="trixie", apt=(), command="launch lock experiment=x", python=python))
    return lock


def test_uv_is_asked_once_and_the_store_has_what_it_fetched(mirror: Mirror, state: StateDir) -> None:
    pinning = Pinning(state, mirror.environ)
    python = pin_managed_python("3.12", pinning)
    assert ("3.12.7", mirror.sha256) == (python.version, python.sha256)
    assert python.address == f"file://{mirror.directory}/20241016/{mirror.file.name.replace('+', '%2B')}"
    assert mirror.file.read_bytes() == Store(state.store).blob_path(python.interpreter.digest).read_bytes()
    mirror.file.unlink()
    assert python == pin_managed_python("3.12", pinning)
    with pytest.raises(LaunchError, match="cannot be had"):
        pin_managed_python("3.12", pinning._replace(refresh=True))


def test_an_archive_that_is_not_what_uv_knows_is_refused(mirror: Mirror, state: StateDir) -> None:
    mirror.file.write_bytes(mirror.file.read_bytes() + b"more")
    with pytest.raises(LaunchError, match=r"^uv's Python 3\.12\.7 cannot be had: Hash mismatch") as told:
        pin_managed_python("3.12", Pinning(state, mirror.environ))
    assert "UV_PYTHON_INSTALL_MIRROR" in (told.value.hint or "")
    assert recorded_python("3.12", Pinning(state, mirror.environ)) is None


def test_a_version_that_uv_does_not_know_is_said(mirror: Mirror, state: StateDir) -> None:
    with pytest.raises(LaunchError, match=r"^uv knows no build of Python 3\.12\.99 for this machine$"):
        pin_managed_python("3.12.99", Pinning(state, mirror.environ))


def test_a_mirrors_password_is_in_no_plan(mirror: Mirror, state: StateDir, tmp_path: Path) -> None:
    locked = ManagedPython("3.12.7", "20241016/cpython.tar.gz", "c" * 64)
    environ = mirror.environ | {"UV_PYTHON_INSTALL_MIRROR": "https://me:secret@mirror.lab/pythons"}
    python = pin_managed_python("3.12", Pinning(state, environ), locked=locked)
    assert "https://mirror.lab/pythons/20241016/cpython.tar.gz" == python.address


def test_a_debian_base_gets_the_python_that_its_suite_has_not(mirror: Mirror, state: StateDir, tmp_path: Path) -> None:
    pinning, lock = Pinning(state, mirror.environ), locked_base(tmp_path)
    plain = pin_base(Image(python="3.13"), pinning, apt=(), base_lock=lock)
    base = pin_base(Image(python="3.12"), pinning, apt=(), base_lock=lock)
    assert managed_python(plain) is None
    assert managed_python(base) == recorded_python("3.12", pinning)
    assert plain.steps == base.steps[:2]
    assert plain.digest != base.digest
    assert base.interpreter is not None
    assert ("/opt/python/bin/python3.12", "3.12.7") == (base.interpreter.executable, base.interpreter.version)
    assert plain.platform == base.platform


def test_the_lock_names_it_for_any_mirror(mirror: Mirror, state: StateDir, tmp_path: Path) -> None:
    found = pin_managed_python("3.12", Pinning(state, mirror.environ))
    lock = locked_base(tmp_path, found)
    assert "://" not in lock.read_text()
    assert DEBS == read_base_lock(lock, suite="trixie", apt=()).base  # type: ignore[union-attr]
    elsewhere = StateDir(tmp_path / "elsewhere")
    environ = mirror.environ | {"UV_PYTHON_INSTALL_MIRROR": "https://mirror.lab/pythons"}
    base = pin_base(Image(python="3.12"), Pinning(elsewhere, environ), apt=(), base_lock=lock)
    assert found._replace(address=f"https://mirror.lab/pythons/{found.file}") == managed_python(base)
    assert read_locked_python(lock, wanted="3.10") is None


@pytest.mark.parametrize("file", ["../cpython.tar.gz", "20241016/a/b.tar.gz", "cpython.tar.gz"])
def test_a_damaged_line_of_the_lock_is_named(tmp_path: Path, file: str) -> None:
    lock = locked_base(tmp_path)
    lock.write_text(lock.read_text() + f"uv-python=3.12.7 {file} sha256:{'c' * 64}\n")
    with pytest.raises(ConfigError, match="damaged") as told:
        read_locked_python(lock, wanted="3.12")
    assert told.value.origin is not None
    assert len(lock.read_text().splitlines()) == told.value.origin.line


def pinner(state: StateDir, environ: dict[str, str], *, refresh: bool = False) -> ImagePinner:
    where = where_in({})
    spec = with_fitting_base(ExperimentSpec("x", image=Image(python="3.12")), where)
    assert "python:3.12-slim" == spec.image.base
    return ImagePinner(spec, Pinning(state, environ, refresh), where)


def test_it_takes_the_place_of_a_registrys_image_and_keeps_it(mirror: Mirror, state: StateDir, tmp_path: Path) -> None:
    lock = locked_base(tmp_path)
    first = pinner(state, mirror.environ).pin_base(lock)
    assert first.image is not None
    assert ("bootstrap:debian/trixie", "3.12") == (first.image.base, first.image.python)
    assert "`python:3.12-slim` cannot be had (registry" in first.warnings[-1]
    again = pinner(state, mirror.environ).pin_base(lock)
    assert (first.base.digest, ()) == (again.base.digest, again.warnings)
    assert first.image == again.image


def test_what_one_plan_chose_holds_for_its_trials(mirror: Mirror, state: StateDir, tmp_path: Path) -> None:
    made = pinner(state, mirror.environ).pin_base(locked_base(tmp_path)).image
    asked = ExperimentSpec("x", image=Image(python="3.12"))
    assert made == with_fitting_base(asked, where_in({}), chosen=made).image
    assert (
        "python:3.10-slim"
        == with_fitting_base(ExperimentSpec("x", image=Image(python="3.10")), where_in({}), chosen=made).image.base
    )


def test_where_neither_can_be_had_both_are_said(mirror: Mirror, state: StateDir, tmp_path: Path) -> None:
    mirror.file.unlink()
    with pytest.raises(LaunchError, match=r"no base with Python 3\.12 can be had: registry .*; uv's Python 3\.12\.7") as told:
        pinner(state, mirror.environ).pin_base(locked_base(tmp_path))
    for words in ("`image.python=3.11`", "`launch load`", "UV_PYTHON_INSTALL_MIRROR"):
        assert words in (told.value.hint or "")


def test_an_archive_on_this_machine_is_fetched_and_a_pipe_is_not(mirror: Mirror, state: StateDir, tmp_path: Path) -> None:
    from runtime.build.copy.added_files import fetch_file
    from runtime.build.observer import NullObserver

    store = Store(state.store).ensure()
    step = ManagedPython("3.12.7", f"file://{mirror.file}", mirror.sha256).steps[0]
    assert isinstance(step, CopyFiles)
    assert mirror.file.read_bytes() == fetch_file(step.source, store=store, observer=NullObserver()).read_bytes()  # type: ignore[arg-type]
    os.mkfifo(tmp_path / "pipe")
    step = ManagedPython("3.12.7", f"file://{tmp_path}/pipe", "d" * 64).steps[0]
    with pytest.raises(NetworkError, match="it is not a file"):
        fetch_file(step.source, store=store, observer=NullObserver())  # type: ignore[union-attr,arg-type]
