"""Where the files of a wheel go, and which wheels are refused."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from wheel_maker import DIST_INFO, step, unpacked_wheel

from runtime.build.wheels.wheel_tree import LaidOut, finish, lay_out
from runtime.errors import BadContent

SITE = "opt/venv/lib/python3.13/site-packages"


@pytest.fixture
def copying() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


class Installer:
    def __init__(self, directory: Path, copying: ThreadPoolExecutor) -> None:
        self.unpacked = directory / "cache"
        self.root = directory / "root"
        self.root.mkdir()
        self.copying = copying

    def __call__(self, files: Mapping[str, bytes | str], *, executable: tuple[str, ...] = ()) -> LaidOut:
        return self.install(unpacked_wheel(self.unpacked, files, executable=executable))

    def install(self, unpacked: Path) -> LaidOut:
        return lay_out(step(), unpacked, self.root, copying=self.copying)

    def files(self) -> set[str]:
        return {path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if not path.is_dir()}


@pytest.fixture
def install(tmp_path: Path, copying: ThreadPoolExecutor) -> Installer:
    return Installer(tmp_path, copying)


def test_each_scheme_of_a_data_directory_has_its_place(install: Installer) -> None:
    data = "demo-1.0.data"
    install(
        {
            "demo/__init__.py": "",
            f"{data}/purelib/pure.py": "",
            f"{data}/platlib/plat.py": "",
            f"{data}/data/share/demo/x.txt": "x",
            f"{data}/data/etc/demo.conf": "x",
            f"{data}/headers/demo.h": "",
            f"{data}/scripts/tool": "#!python\n",
        }
    )
    assert {
        f"{SITE}/demo/__init__.py",
        f"{SITE}/pure.py",
        f"{SITE}/plat.py",
        "opt/venv/share/demo/x.txt",
        "opt/venv/etc/demo.conf",
        "opt/venv/include/site/python3.13/demo/demo.h",
        "opt/venv/bin/tool",
    } == {path for path in install.files() if DIST_INFO not in path}


def test_modes_do_not_depend_on_who_filled_the_cache(install: Installer) -> None:
    install({"demo/run.sh": "", "demo/x.py": ""}, executable=("demo/run.sh",))
    assert 0o755 == stat.S_IMODE((install.root / SITE / "demo/run.sh").stat().st_mode)
    assert 0o644 == stat.S_IMODE((install.root / SITE / "demo/x.py").stat().st_mode)


def test_the_cache_is_copied_and_never_linked(install: Installer) -> None:
    install({"demo/x.py": "x"})
    assert not os.path.samefile(install.unpacked / "demo/x.py", install.root / SITE / "demo/x.py")
    assert 0o664 == stat.S_IMODE((install.unpacked / "demo/x.py").stat().st_mode)


def test_scripts_run_under_the_virtual_environment(install: Installer) -> None:
    install(
        {
            "demo.py": "",
            "demo-1.0.data/scripts/old": "#!python -u\nprint(1)\n",
            "demo-1.0.data/scripts/shell": "#!/bin/sh\n",
            f"{DIST_INFO}/entry_points.txt": "[console_scripts]\nnew = demo:main\n",
        }
    )
    binaries = install.root / "opt/venv/bin"
    assert (binaries / "old").read_text() == "#!/opt/venv/bin/python3 -u\nprint(1)\n"
    assert (binaries / "shell").read_text() == "#!/bin/sh\n"
    assert (binaries / "new").read_text().startswith("#!/opt/venv/bin/python3\n")
    assert {0o755} == {stat.S_IMODE(path.stat().st_mode) for path in binaries.iterdir()}


def test_record_names_what_is_there(install: Installer) -> None:
    laid = install({"demo/x.py": "x", "demo-1.0.data/scripts/tool": "#!python\n", f"{DIST_INFO}/INSTALLER": "pip\n"})
    tree = finish(laid, [])
    record = (install.root / SITE / DIST_INFO / "RECORD").read_text().splitlines()
    assert sorted(record) == record
    assert "../../../bin/tool,sha256=" in record[0]
    assert f"{DIST_INFO}/RECORD,," == next(line for line in record if "RECORD" in line)
    assert (install.root / SITE / DIST_INFO / "INSTALLER").read_text() == "launch\n"
    assert install.files() == {entry.path for entry in tree if entry.type == "file"}


def test_the_tree_holds_every_directory_as_0755(install: Installer) -> None:
    before = os.umask(0o077)
    try:
        tree = finish(install({"demo/sub/x.py": ""}), [])
    finally:
        os.umask(before)
    directories = {entry.path: entry.mode for entry in tree if entry.type == "dir"}
    assert {"opt", "opt/venv", SITE, f"{SITE}/demo/sub"} <= set(directories)
    assert {0o755} == set(directories.values())
    assert 0o755 == stat.S_IMODE((install.root / "opt").stat().st_mode)


def test_bytecode_of_the_wheel_is_left_out(install: Installer) -> None:
    install({"demo/x.py": "", "demo/__pycache__/x.cpython-313.pyc": b"old"})
    assert not any("__pycache__" in path for path in install.files())


def test_a_file_that_record_does_not_know_is_installed(install: Installer) -> None:
    unpacked = unpacked_wheel(install.unpacked, {"demo/x.py": ""})
    (unpacked / "demo/extra.txt").write_text("sloppy")
    install.install(unpacked)
    assert f"{SITE}/demo/extra.txt" in install.files()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        pytest.param("demo-1.0.data/data/bin/python3", "replace the interpreter", id="interpreter"),
        pytest.param("demo-1.0.data/scripts/python3.13", "replace the interpreter", id="interpreter as a script"),
        pytest.param("demo-1.0.data/data/pyvenv.cfg", "replace the interpreter", id="pyvenv.cfg"),
        pytest.param("demo-1.0.data/scripts/a/b", "subdirectory", id="script in a directory"),
        pytest.param("demo-1.0.data/system/x", "unknown scheme", id="unknown scheme"),
    ],
)
def test_a_wheel_that_reaches_too_far_is_refused(install: Installer, path: str, words: str) -> None:
    with pytest.raises(BadContent, match=words):
        install({path: "x"})


def test_a_changed_file_in_the_cache_is_found(install: Installer) -> None:
    unpacked = unpacked_wheel(install.unpacked, {"demo/x.py": "x = 1\n"})
    (unpacked / "demo/x.py").write_text("x = 2\n")
    with pytest.raises(BadContent, match="not what the wheel's RECORD says"):
        install.install(unpacked)


def test_a_missing_file_in_the_cache_is_found(install: Installer) -> None:
    unpacked = unpacked_wheel(install.unpacked, {"demo/x.py": "x = 1\n"})
    (unpacked / "demo/x.py").unlink()
    with pytest.raises(BadContent, match=r"lacks `demo/x\.py`"):
        install.install(unpacked)


def test_a_weak_hash_in_record_is_refused(install: Installer) -> None:
    unpacked = unpacked_wheel(install.unpacked, {"x.py": "", f"{DIST_INFO}/RECORD": "x.py,md5=abc,0\n"})
    with pytest.raises(BadContent, match="md5"):
        install.install(unpacked)


def test_a_link_in_an_unpacked_wheel_is_refused(install: Installer) -> None:
    """A build that leaves `demo/x.py -> /etc/shadow` behind gets nothing copied into the image."""
    unpacked = unpacked_wheel(install.unpacked, {"demo/y.py": ""})
    (unpacked / "demo/x.py").symlink_to("/etc/shadow")
    with pytest.raises(BadContent, match="no regular file"):
        install.install(unpacked)


def test_a_wheel_of_another_package_is_refused(install: Installer) -> None:
    unpacked = unpacked_wheel(install.unpacked, {"x.py": ""})
    (unpacked / DIST_INFO).rename(unpacked / "other-1.0.dist-info")
    with pytest.raises(BadContent, match="another package's"):
        install.install(unpacked)
