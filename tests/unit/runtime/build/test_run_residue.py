"""What is taken out of a command's layer, and what stays."""

from __future__ import annotations

import importlib.util
import marshal
import os
import py_compile
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.build.plan import RunCommand
from runtime.build.run.changed_tree import RESIDUE, changed_tree, residue_globs, settle_bytecode
from runtime.layer.diff import diff, matcher
from runtime.layer.tree import LAYER_MTIME_S, scan, write_tree


@pytest.mark.parametrize(
    "path",
    [
        "etc/machine-id",
        "etc/shadow-",
        "etc/ssh/ssh_host_ed25519_key",
        "root/.cache/pip/http-v2/a/b/c.body",
        "home/web/.cache/pip/selfcheck/x",
        "root/.cache/uv/archive-v0/x7Hd/a.py",
        "var/cache/apt/pkgcache.bin",
        "var/cache/ldconfig/aux-cache",
        "var/cache/man/index.db",
        "var/log/apt/history.log",
        "var/log/dpkg.log",
    ],
)
def test_what_differs_from_run_to_run_goes(path: str) -> None:
    assert matcher(residue_globs())(path)


@pytest.mark.parametrize(
    "path",
    [
        "etc/shadow",
        "etc/ssh/sshd_config",
        "root/.cache/huggingface/model.bin",
        "root/.cache/pip/wheels/ab/x.whl",
        "tmp/download.tar",
        "var/cache/apt/archives/git.deb",
        "var/lib/apt/lists/archive_InRelease",
        "var/log/nginx",
        "var/log/nginx/access.log",
        "var/log/apt",
    ],
)
def test_what_a_later_step_may_need_stays(path: str) -> None:
    assert not matcher(residue_globs())(path)


def test_every_entry_has_a_reason_of_its_own() -> None:
    globs = residue_globs()
    assert len(globs) == len(set(globs))
    assert all(len(reason) > 20 for reason in RESIDUE)


def changed(upper: Path, below: Path | None = None) -> dict[str, str]:
    """Paths and types of what a command changed in *upper*."""
    layers = []
    if below is not None:
        write_tree(scan(below), below.parent / "tree.jsonl")
        layers.append(below)
    return {entry.path: entry.type for entry in changed_tree(upper, RunCommand(("true",)), layers)}


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's owners come from a container's reports")


@as_root
def test_directories_that_are_as_they_were_go_and_others_stay(tmp_path: Path) -> None:
    below, upper = tmp_path / "below" / "root", tmp_path / "upper"
    for path in ("a/b", "mode", "kept"):
        (below / path).mkdir(parents=True)
        (upper / path).mkdir(parents=True)
    (upper / "mode").chmod(0o700)
    (upper / "kept" / "file").touch()
    (upper / "new").mkdir()
    assert {"mode": "dir", "kept": "dir", "kept/file": "file", "new": "dir"} == changed(upper, below)
    assert {"mode", "kept", "new"} == set(os.listdir(upper))


@as_root
def test_sockets_are_in_no_layer(tmp_path: Path) -> None:
    below, upper = tmp_path / "below" / "root", tmp_path / "u"
    for place in (below / "run", upper / "run", upper / "gnupg"):
        place.mkdir(parents=True)
    before = os.getcwd()
    os.chdir(upper)  # a socket's address is short
    try:
        for place in ("run/s", "gnupg/s"):
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(place)
    finally:
        os.chdir(before)
    assert {"gnupg": "dir"} == changed(upper, below)
    assert [] == os.listdir(upper / "gnupg")


@as_root
def test_a_link_of_the_image_does_not_lead_to_this_machines_host_keys(tmp_path: Path) -> None:
    upper = tmp_path / "u"
    upper.mkdir()
    (upper / "etc").symlink_to("/etc")
    told: list[str] = []
    changed_tree(upper, RunCommand(("true",)), [], tell=told.append)
    assert [] == told


@as_root
def test_host_keys_are_left_out_and_that_is_said(tmp_path: Path) -> None:
    upper = tmp_path / "u"
    (upper / "etc" / "ssh").mkdir(parents=True)
    (upper / "etc" / "ssh" / "ssh_host_rsa_key").touch()
    told: list[str] = []
    tree = changed_tree(upper, RunCommand(("true",)), [], tell=told.append)
    assert ["etc", "etc/ssh"] == [entry.path for entry in tree]
    assert "ssh-keygen -A" in told[0]


# Bytecode


def compiled(directory: Path, *, mode: py_compile.PycInvalidationMode = py_compile.PycInvalidationMode.TIMESTAMP) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "module.py").write_text("value = 1\n")
    return Path(py_compile.compile(str(directory / "module.py"), invalidation_mode=mode, doraise=True))


def header(pyc: Path) -> tuple[int, int, int]:
    return struct.unpack("<4xIII", pyc.read_bytes()[:16])  # type: ignore[return-value]


@as_root
def test_bytecode_that_fits_its_source_fits_it_with_the_layers_time(tmp_path: Path) -> None:
    upper = tmp_path / "u"
    pyc = compiled(upper / "app")
    pyc.chmod(0o444)
    changed(upper)
    assert (0, LAYER_MTIME_S, 10) == header(pyc)
    os.utime(upper / "app" / "module.py", (LAYER_MTIME_S, LAYER_MTIME_S))
    before = pyc.stat().st_mtime_ns
    told = subprocess.run(
        [sys.executable, "-v", "-c", "import module"], cwd=upper / "app", capture_output=True, text=True, check=True
    ).stderr
    assert "module.cpython" in told
    assert "matches" in told
    assert before == pyc.stat().st_mtime_ns


@as_root
def test_bytecode_names_no_directory_that_pip_called_at_random(tmp_path: Path) -> None:
    made = set()
    for name in ("pip-target-a1b2c3_4", "pip-target-zzzz9999"):
        upper = tmp_path / name / "upper"
        (upper / "__pycache__").mkdir(parents=True)
        code = compile("def f(): return 1", f"/tmp/{name}/lib/python/m.py", "exec")
        (upper / "__pycache__" / "m.cpython-313.pyc").write_bytes(b"1234" + struct.pack("<III", 3, 0, 0) + marshal.dumps(code))
        settle_bytecode(upper, diff(upper))
        made.add((upper / "__pycache__" / "m.cpython-313.pyc").read_bytes())
    (settled,) = made
    assert "/tmp/pip-target-00000000/lib/python/m.py" == marshal.loads(settled[16:]).co_filename


@as_root
def test_stale_and_hash_checked_bytecode_stays_as_it_is(tmp_path: Path) -> None:
    upper = tmp_path / "u"
    stale = compiled(upper / "stale")
    (upper / "stale" / "module.py").write_text("value = 1000\n")
    hashed = compiled(upper / "hashed", mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    (upper / "none").mkdir()
    (upper / "none" / "x.pyc").write_bytes(b"short")
    contents = [path.read_bytes() for path in (stale, hashed)]
    changed(upper)
    assert contents == [path.read_bytes() for path in (stale, hashed)]
    assert importlib.util.MAGIC_NUMBER == contents[0][:4]
